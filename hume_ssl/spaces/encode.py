"""Images through a network, chunk by chunk.

On a GPU worker processes decode while it computes. On a CPU each core decodes its own batches and encodes them in one
thread: cores never wait for one another within a layer, nor compute and decode at once, and a row does not depend on
how many of them there are.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hume_ssl.images import available_cores
from hume_ssl.items import Items
from hume_ssl.sources.decoded import DecodedImages
from hume_ssl.spaces.decode import decoded_batch, image_batches, in_batches
from hume_ssl.spaces.encoders import build_network, build_preprocess, output_width
from hume_ssl.spaces.spec import EncoderSpec

BATCH_PIXELS = 1 << 19  # of all images of a batch on a CPU: what its caches hold
MOST_CPU = 256
BATCH_GPU = 1024  # to begin with: it is halved until it fits
LOADED = 64  # images a worker decodes at a time


def cpu_batch(size: tuple[int, int]) -> int:
    """How many images of (h, w) pixels are best encoded at once on a CPU: a power of two from 4 to 256.

    What a layer leaves for the next then lies in the caches: one thread of squeezenet1_1 took 3.4 ms an image of 128
    pixels at 16 or 32 at once, and 5.8 ms at 64 (once, on a machine at work).
    """
    fitting = max(4, min(MOST_CPU, BATCH_PIXELS // (size[0] * size[1])))
    return 1 << (fitting.bit_length() - 1)


@dataclass
class Meter:
    """How an embedding went.

    Attributes:
        images: encoded so far.
        seconds: of wall time.
        waited: seconds of those in which the network waited for images.
        cpu_seconds: processor time of this process and its finished workers.
    """

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    cpu_seconds: float = 0.0
    _began: tuple[float, float] | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Start the clocks."""
        self._began = time.perf_counter(), _processor_time()

    def end(self) -> None:
        """Stop the clocks, once the workers are gone: only then is their time known."""
        assert self._began is not None
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += _processor_time() - self._began[1]
        self._began = None

    def busy(self, device: str) -> float:
        """Share of the time in which the cores, or the GPU, had work: in [0, 1], a little above where clocks differ."""
        if device.startswith("cpu"):
            return self.cpu_seconds / (self.seconds * available_cores())
        return 1 - self.waited / self.seconds


class Engine:
    """An encoder on its device.

    Args:
        spec: a network.
        device: where it runs.
        precision: float32 or bfloat16 (autocast).
        batch: images encoded at once; None: `cpu_batch`; on a GPU 1024, halved whenever its memory does not hold them.

    Raises InputError for weights that do not fit, or an image size the network cannot take.
    """

    def __init__(self, spec: EncoderSpec, device: torch.device, precision: str, batch: int | None) -> None:
        self.device, self.mixed = device, precision == "bfloat16"
        self.preprocess, network = build_preprocess(spec), build_network(spec)
        self.width = output_width(network, self.preprocess, spec)
        # Channels last: convolutions on a CPU take about half the time.
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batch = batch or (cpu_batch(self.preprocess.size) if device.type == "cpu" else BATCH_GPU)

    def encode(
        self, items: Items, chunks: Sequence[range], workers: int | None = None, meter: Meter | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """The features (b, d) of the items of each chunk, in order.

        A batch never spans two chunks, so that the bytes of a chunk do not depend on where an embedding began.

        Args:
            workers: processes that decode; None: as many as pay off on a GPU, and none on a CPU, where the threads that
                compute decode as well.
        """
        meter = meter or Meter()
        meter.begin()
        if self.device.type == "cpu" and not workers:
            yield from self._by_threads(items, chunks, meter)
            return
        loaded = [some for chunk in chunks for some in in_batches(chunk, min(self.batch, LOADED))]
        batches = image_batches(items, self.preprocess, loaded, workers)
        try:
            for chunk in chunks:
                parts: list[Tensor] = []
                waiting: list[Tensor] = []
                seen = 0
                while seen < len(chunk):
                    before = time.perf_counter()
                    pixels = next(batches)
                    meter.waited += time.perf_counter() - before
                    seen += len(pixels)
                    waiting.append(pixels)
                    if seen == len(chunk) or sum(map(len, waiting)) >= self.batch:
                        parts.append(self.features(torch.cat(waiting)))
                        waiting = []
                meter.images += len(chunk)
                yield torch.cat(parts).float().cpu().numpy()
        finally:
            batches.close()
            meter.end()

    def _by_threads(self, items: Items, chunks: Sequence[range], meter: Meter) -> Iterator[NDArray[np.float32]]:
        """`encode` on a CPU: batch after batch in as many threads as torch would compute with, which is one a core
        unless the user, or torchrun, has it otherwise."""
        images, threads = DecodedImages(items.images, self.preprocess), torch.get_num_threads()
        batches = iter([(rows, rows.stop == chunk.stop) for chunk in chunks for rows in in_batches(chunk, self.batch)])
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            ahead: deque[tuple[Future[Tensor], bool]] = deque()

            def begin_next() -> None:
                for rows, last in batches:
                    ahead.append((pool.submit(self._decode_and_encode, images, rows), last))
                    return

            try:
                for _ in range(2 * threads):  # one in hand and one waiting, each
                    begin_next()
                parts: list[Tensor] = []
                while ahead:
                    made, last = ahead.popleft()
                    parts.append(made.result())
                    meter.images += len(parts[-1])
                    begin_next()
                    if last:
                        yield torch.cat(parts).numpy()
                        parts = []
            finally:
                pool.shutdown(cancel_futures=True)
                torch.set_num_threads(threads)
                meter.end()

    def _decode_and_encode(self, images: DecodedImages, rows: range) -> Tensor:
        return self.features(decoded_batch(images, rows))

    @torch.inference_mode()
    def features(self, pixels: Tensor) -> Tensor:
        """(b, 3, h, w) uint8 -> (b, d), in as many steps as the device's memory asks for."""
        while True:
            try:
                return torch.cat([self._some(part) for part in pixels.split(self.batch)])  # type: ignore[no-untyped-call]
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise
                self.batch = max(1, self.batch // 2)
                torch.cuda.empty_cache()

    def _some(self, pixels: Tensor) -> Tensor:
        if self.device.type == "cuda":
            pixels = pixels.pin_memory()
        images = self.preprocess.normalise(pixels.to(self.device, non_blocking=True))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
            found: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return found.float()


def _processor_time() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system
