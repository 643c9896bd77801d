"""Training a classifier from a few labels and many images."""

from hume_ssl.train.loop import train_fixmatch
from hume_ssl.train.prediction import predict
from hume_ssl.train.result import TrainResult

__all__ = ["TrainResult", "predict", "train_fixmatch"]
