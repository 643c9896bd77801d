"""Training a classifier from a few labels and many images."""

from hume_ssl.train.loop import TrainResult, predict, train_fixmatch

__all__ = ["TrainResult", "predict", "train_fixmatch"]
