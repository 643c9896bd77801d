"""Train an algorithm of USB (pip install semilearn) with the labels that hume_ssl picked: no true label is read.

    python usb_train.py --algorithm fixmatch --net wrn_28_2 --steps 2000

It reads usb.json, labels.npy and the images they name, all in the folder of this script. Labelled: the items of
labels.npy. Unlabelled: all train items, the labelled ones included, as in USB. What USB prints as accuracy is counted
on the labelled items, since nothing else has a label here: compare predictions.csv with labels of your own.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from semilearn import BasicDataset, Trainer, get_algorithm, get_config, get_data_loader, get_net_builder
from semilearn.datasets.augmentation import RandAugment
from torchvision import transforms

HERE = Path(__file__).resolve().parent


class Files:
    """Images of a list of files, as arrays (size, size, 3), opened when they are asked for."""

    def __init__(self, folder, names, size):
        self.folder, self.names, self.size = Path(folder), names, size

    def __len__(self):
        return len(self.names)

    def __getitem__(self, item):
        with Image.open(self.folder / self.names[item]) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(upright.resize((self.size, self.size), Image.BILINEAR))


class Array(Files):
    """The same of an array (n, h, w[, 3]) uint8."""

    def __init__(self, path, rows, size):
        self.array, self.names, self.size = np.load(path, mmap_mode="r", allow_pickle=False), rows, size

    def __getitem__(self, item):
        image = Image.fromarray(np.asarray(self.array[self.names[item]])).convert("RGB")
        return np.asarray(image.resize((self.size, self.size), Image.BILINEAR))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", default="fixmatch", help="fixmatch, flexmatch, freematch, softmatch ...")
    parser.add_argument("--net", default="wrn_28_2", help="a network of semilearn.nets")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--uratio", type=int, default=7, help="unlabelled images for one labelled")
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--flip", action="store_true", help="mirror images: not for digits or letters")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data", help="folder of the images, where they have moved")
    parser.add_argument("--out", default=str(HERE / "saved_models"))
    return parser.parse_args()


class NoEvent:
    """Stands for the clock of a GPU."""

    def __init__(self, enable_timing=False):
        pass

    def record(self):
        pass

    def elapsed_time(self, end):
        return 0.0


def without_gpu():
    """USB calls .cuda() throughout; where there is no GPU these calls do nothing, and it runs on the CPU."""
    torch.cuda.set_device = torch.cuda.synchronize = lambda *args: None
    torch.cuda.Event = NoEvent
    torch.Tensor.cuda = lambda tensor, *args, **kwargs: tensor
    torch.nn.Module.cuda = lambda module, *args, **kwargs: module


def main():
    asked = options()
    facts = json.loads((HERE / "usb.json").read_text())
    labelled = np.load(HERE / "labels.npy", allow_pickle=False)
    names, train = facts["classes"], facts["train"]
    if not torch.cuda.is_available():
        without_gpu()
    torch.manual_seed(asked.seed)
    np.random.seed(asked.seed)
    config = get_config(
        {
            "algorithm": asked.algorithm,
            "net": asked.net,
            "dataset": "none",
            "num_classes": len(names),
            "num_labels": len(labelled),
            "num_train_iter": asked.steps,
            "num_eval_iter": max(1, asked.steps // 10),
            "epoch": 1,
            "batch_size": asked.batch_size,
            "uratio": asked.uratio,
            "img_size": asked.size,
            "save_dir": asked.out,
            "save_name": asked.algorithm,
            "seed": asked.seed,
            "num_workers": asked.workers,
            "gpu": 0,
            "world_size": 1,
            "distributed": False,
        }
    )
    config.ulb_dest_len, config.lb_dest_len = len(train), len(labelled)  # some algorithms keep a value for each item
    algorithm = get_algorithm(config, get_net_builder(config.net, from_name=False), tb_log=None, logger=None)

    last = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    mirror = [transforms.RandomHorizontalFlip()] if asked.flip else []
    crop = [transforms.RandomCrop(asked.size, padding=int(asked.size * 0.125), padding_mode="reflect")]
    weak = transforms.Compose([*mirror, *crop, *last])
    strong = transforms.Compose([*mirror, *crop, RandAugment(3, 5), *last])
    plain = transforms.Compose(last)

    def images(rows):
        if "filepaths" not in facts:
            return Array(HERE / facts["data"], list(rows), asked.size)
        return Files(asked.data or facts["data"], [facts["filepaths"][row] for row in rows], asked.size)

    items, classes = labelled[:, 0].tolist(), labelled[:, 1].tolist()
    first = BasicDataset(asked.algorithm, images(items), classes, len(names), weak)
    pool = BasicDataset(asked.algorithm, images(train), None, len(names), weak, is_ulb=True, strong_transform=strong)
    check = BasicDataset(asked.algorithm, images(items), classes, len(names), plain)
    loaders = [
        get_data_loader(config, first, config.batch_size, num_workers=asked.workers),
        get_data_loader(config, pool, config.batch_size * config.uratio, num_workers=asked.workers),
        get_data_loader(config, check, 256, num_workers=asked.workers, data_sampler=None, drop_last=False),
    ]
    trainer = Trainer(config, algorithm)
    trainer.fit(*loaders)

    every = range(len(facts["filepaths"])) if "filepaths" in facts else range(len(images([0]).array))
    rest = BasicDataset(asked.algorithm, images(every), [0] * len(every), len(names), plain)
    loader = get_data_loader(config, rest, 256, num_workers=asked.workers, data_sampler=None, drop_last=False)
    found, shares = trainer.predict(loader)
    with open(HERE / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "label", "class_name", "confidence"])
        for item, (label, share) in enumerate(zip(found, shares.max(1), strict=True)):
            rows.writerow([item, int(label), names[int(label)], f"{share:.6f}"])
    print("predictions of all items: predictions.csv")


if __name__ == "__main__":
    main()
