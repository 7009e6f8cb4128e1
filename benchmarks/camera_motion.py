"""What the watch over the camera notices, what it misses, and what it costs.

    python benchmarks/camera_motion.py [VIDEO ...] [--seed 0]

Made-up clips of still and of moving cameras, and the VIDEOs (filmed from a tripod) as they are, cut
out by a window that moves, and compressed again. Prints every verdict, the false alarms and the
misses, the slowest pan that is noticed, and the time per frame.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.cameras import Camera, look_at
from lithepose.pipeline.demo import FILES
from lithepose.synthetic.rooms import render_room
from lithepose.video import VideoWriter, open_video
from lithepose.video.camera_motion import SHAKING_M, CameraMotion, CameraWatch

FPS = 30.0
SIZE = (960, 540)
SECONDS = 5.0
NOBODY = np.zeros((0, 17, 2))
Clip = Iterator[tuple[Image, Floats]]  # frames (H, W, 3) and people (P, J, 2)


def textured(rng: np.random.Generator, size: tuple[int, int]) -> Image:
    """A still of soft noise and shapes, larger than any window on it."""
    width, height = size
    picture = np.full((height, width, 3), 128.0, np.float32)
    for cells in (6, 24, 90):
        small = rng.normal(0, 14, (max(2, cells * height // width), cells, 3)).astype(np.float32)
        picture += cv2.resize(small, size, interpolation=cv2.INTER_CUBIC)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    # Of about the size that furniture, windows and doors have; as many however large the picture.
    for _ in range(max(8, width * height // 12_000)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = rng.integers(8, 120, 2).tolist()
        colour = rng.integers(20, 236, 3).tolist()
        cv2.rectangle(picture, (x, y), (x + w, y + h), colour, -1)
    return picture


def window(picture: Image, size: tuple[int, int], movement: Floats) -> Image:
    """What a camera sees of a picture: (3, 3) takes the middle of the picture's pixels to it."""
    width, height = size
    middle = np.eye(3)
    middle[:2, 2] = -(picture.shape[1] - width) / 2, -(picture.shape[0] - height) / 2
    matrix = (movement @ middle)[:2]
    return np.asarray(cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def shift(x: float, y: float = 0.0) -> Floats:
    matrix = np.eye(3)
    matrix[:2, 2] = x, y
    return matrix


def about_middle(size: tuple[int, int], zoom: float = 1.0, turn_deg: float = 0.0) -> Floats:
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), turn_deg, zoom)
    return matrix


def walker(index: int, size: tuple[int, int], share: float = 0.25) -> tuple[slice, slice, Floats]:
    """Where a block the size of a person is, and joints (1, 17, 2) in it."""
    width, height = size
    wide, high = int(share * width), int(0.9 * height)
    left = int((width - wide) * (0.5 + 0.5 * np.sin(0.05 * index)))
    top = (height - high) // 2
    corners = [(left, top), (left + wide, top + high)]
    joints = np.full((1, 17, 2), np.nan)
    joints[0, :2] = corners
    return slice(top, top + high), slice(left, left + wide), joints


def filmed(
    rng: np.random.Generator,
    movement: Callable[[float], Floats],
    *,
    seconds: float = SECONDS,
    size: tuple[int, int] = SIZE,
    noise: float = 3.0,
    gain: Callable[[float], float] = lambda _: 1.0,
    person: float = 0.25,
    detected: bool = True,
    picture: Image | None = None,
) -> Clip:
    """Frames of a textured picture, moved by `movement` of the time, with a moving block before."""
    if picture is None:
        picture = textured(rng, (3 * size[0], 3 * size[1]))
    clothes = textured(rng, (max(1, int(person * size[0])), int(0.9 * size[1])))
    for index in range(round(seconds * FPS)):
        frame = window(picture, size, movement(index / FPS)).astype(np.float32)
        people = NOBODY
        if person:
            rows, columns, joints = walker(index, size, person)
            frame[rows, columns] = np.roll(clothes, 3 * index, axis=0)
            people = joints if detected else NOBODY
        frame = frame * gain(index / FPS) + rng.normal(0, noise, frame.shape).astype(np.float32)
        yield np.clip(frame, 0, 255).astype(np.uint8), people


def still(_: float) -> Floats:
    return np.eye(3)


def sway(
    rng: np.random.Generator, share: float, size: tuple[int, int]
) -> Callable[[float], Floats]:
    """A hand: slow drifting and quicker sway, from end to end about this share of the width."""
    phase = rng.uniform(0, 6.28, 6)
    rates = np.array([0.23, 0.7, 1.9, 0.31, 0.9, 2.3]) * 6.28
    weight = np.array([0.7, 0.25, 0.05] * 2) * share / 2 * size[0]

    def movement(time_s: float) -> Floats:
        wave = weight * np.sin(rates * time_s + phase)
        return shift(wave[:3].sum(), 0.5 * wave[3:].sum())

    return movement


def crowd(rng: np.random.Generator, blocks: int, movement: Callable[[float], Floats]) -> Clip:
    """Undetected passers-by who hide much of the background."""
    width, height = SIZE
    clothes = [textured(rng, (width // 8, int(0.8 * height))) for _ in range(blocks)]
    speeds = rng.choice([-1, 1], blocks) * rng.uniform(60, 200, blocks)
    starts = rng.uniform(0, width, blocks)
    for index, (frame, people) in enumerate(filmed(rng, movement, person=0)):
        for block, speed, start in zip(clothes, speeds, starts, strict=True):
            left = int((start + speed * index / FPS) % (width * 9 / 8)) - width // 8
            seen = block[:, max(0, -left) : min(block.shape[1], width - left)]
            left = max(0, left)
            frame[-seen.shape[0] :, left : left + seen.shape[1]] = seen
        yield frame, people


def leaves(
    rng: np.random.Generator, share: float, movement: Callable[[float], Floats] = still
) -> Clip:
    """Wind in trees: small patches that each sway by some pixels about their places."""
    width, height = SIZE
    picture = textured(rng, (3 * width, 3 * height))
    low = round((1 - share) * height)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phases = [cv2.resize(rng.uniform(0, 6.28, (9, 16)).astype(np.float32), SIZE) for _ in range(2)]
    for index in range(round(SECONDS * FPS)):
        frame = window(picture, SIZE, movement(index / FPS))
        windy = [6 * np.sin(phase + 0.2 * index) * (y < height - low) for phase in phases]
        frame = cv2.remap(
            frame,
            (x + windy[0]).astype(np.float32),
            (y + windy[1]).astype(np.float32),
            cv2.INTER_LINEAR,
        )
        noisy = frame + rng.normal(0, 3, frame.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8), NOBODY


def rendered(movement: Callable[[float], tuple[float, Floats]], outdoors: bool = False) -> Clip:
    """An empty room, seen by a camera that is turned (degrees) and carried (metres, 3)."""
    size = (640, 360)
    for index in range(0, round(SECONDS * FPS), 3):
        turn, carried = movement(index / FPS)
        position = np.array([0.3, -3.4, 1.4]) + carried
        angle = np.radians(turn)
        target = position + [np.sin(angle), np.cos(angle), -0.12]
        camera = Camera(
            focal_px=(0.8 * size[0], 0.8 * size[0]),
            centre_px=(size[0] / 2, size[1] / 2),
            image_size=size,
            rotation=look_at(position, target),
            position=position,
        )
        frame = render_room(camera, np.random.default_rng(3), outdoors=outdoors)[0]
        for _ in range(3):
            yield frame, NOBODY


def carried(time_s: float) -> tuple[float, Floats]:
    """Someone who walks beside the person and holds the camera."""
    bob = 0.02 * np.sin(6.28 * 1.9 * time_s)
    return 0.5 * np.sin(6.28 * 0.9 * time_s), np.array([0.5 * time_s, 0, bob])


def made_up(seed: int) -> Iterator[tuple[str, str, Clip]]:
    """(name, what it should be called, clip) of every made-up clip."""
    width = SIZE[0]

    def rng() -> np.random.Generator:
        return np.random.default_rng([seed, 7])

    yield "tripod", "still", filmed(rng(), still)
    yield "tripod, noise of 25 grey values", "still", filmed(rng(), still, noise=25)
    flicker = np.random.default_rng(seed).uniform(0.8, 1.2, 4000)
    yield (
        "tripod, flickering lamp",
        "still",
        filmed(rng(), still, gain=lambda t: float(flicker[round(t * FPS)])),
    )
    yield (
        "tripod, exposure falls to 40 %",
        "still",
        filmed(rng(), still, gain=lambda t: 1 - 0.12 * t),
    )
    yield (
        "tripod, dark (a twelfth of the light)",
        "still",
        filmed(rng(), still, gain=lambda _: 1 / 12),
    )
    yield (
        "tripod, light off for 2 s",
        "still",
        filmed(rng(), still, gain=lambda t: 0.01 if 1.5 < t < 3.5 else 1.0),
    )
    yield "tripod, someone undetected", "still", filmed(rng(), still, person=0.4, detected=False)
    yield "tripod, passers-by before 40 % of it", "still", crowd(rng(), 4, still)
    yield "tripod, passers-by before 60 % of it", "still", crowd(rng(), 6, still)
    yield "tripod, leaves in half the picture", "still", leaves(rng(), 0.5)
    yield "tripod, leaves everywhere", "still", leaves(rng(), 1.0)
    yield (
        "tripod, a knock of 2 % for 0.3 s",
        "still",
        filmed(rng(), lambda t: shift(0.02 * width * (2 < t < 2.3))),
    )
    yield "tripod, a hand before the lens for 0.6 s", "still", hidden(filmed(rng(), still), rng())
    yield (
        "bare wall",
        "unknown",
        filmed(rng(), still, picture=np.full((1700, 3000, 3), 150, np.uint8)),
    )
    yield (
        "bare wall, noise of 25",
        "unknown",
        filmed(rng(), still, picture=np.full((1700, 3000, 3), 150, np.uint8), noise=25),
    )
    yield "person fills the picture", "unknown", filmed(rng(), still, person=0.95)
    yield "tripod, 320x240", "still", filmed(rng(), still, size=(320, 240))
    yield "tripod, 540x960 upright", "still", filmed(rng(), still, size=(540, 960))
    with open_video(str(FILES / "demo.mp4")) as video:
        frames = [np.asarray(cv2.resize(f.image, (640, 360)), np.uint8) for f in video][::3]
    yield "rendered person, 10 fps", "still", ((frame, NOBODY) for frame in frames)
    yield "rendered room", "still", rendered(lambda _: (0.0, np.zeros(3)))

    yield "sway of 0.6 %", "shaking", filmed(rng(), sway(rng(), 0.006, SIZE))
    yield "sway of 1 %", "shaking", filmed(rng(), sway(rng(), 0.01, SIZE))
    yield "sway of 4 %", "moving", filmed(rng(), sway(rng(), 0.04, SIZE))
    for speed in (0.005, 0.02, 0.1, 0.4, 1.0):

        def pan(time_s: float, speed: float = speed) -> Floats:
            return shift(abs((speed * time_s + 0.5) % 2 - 1) * width)  # to and fro

        yield f"pan, {100 * speed:g} % of the width per s", "moving", filmed(rng(), pan)
    yield "pan in a crowd, 10 % per s", "moving", crowd(rng(), 4, lambda t: shift(0.1 * width * t))
    yield (
        "pan, dark, 10 % per s",
        "moving",
        filmed(rng(), lambda t: shift(0.1 * width * t), gain=lambda _: 1 / 8),
    )
    yield (
        "pan for 1 s after 3 s",
        "moving",
        filmed(rng(), lambda t: shift(0.05 * width * np.clip(t - 3, 0, 1))),
    )
    yield "tilt, 5 % per s", "moving", filmed(rng(), lambda t: shift(0, 0.05 * width * t))
    yield "roll, 1 degree per s", "moving", filmed(rng(), lambda t: about_middle(SIZE, 1, t))
    yield "zoom, 2 % per s", "moving", filmed(rng(), lambda t: about_middle(SIZE, 1 + 0.02 * t))
    yield "zoom, 30 % per s", "moving", filmed(rng(), lambda t: about_middle(SIZE, 1 + 0.3 * t))
    yield "rendered room, pan of 1 degree per s", "moving", rendered(lambda t: (t, np.zeros(3)))
    yield (
        "rendered room, pan of 20 degrees per s",
        "moving",
        rendered(lambda t: (15 * np.sin(1.4 * t), np.zeros(3))),
    )
    yield "rendered room, camera carried along", "moving", rendered(carried)
    yield "rendered yard, camera carried along", "moving", rendered(carried, outdoors=True)


def hidden(clip: Clip, rng: np.random.Generator) -> Clip:
    hand = textured(rng, SIZE)
    for index, (frame, people) in enumerate(clip):
        yield (hand if 2.0 < index / FPS < 2.6 else frame), people


def cut_out(frames: list[Image], share_per_s: float, fps: float) -> Clip:
    """A window of three quarters of the width that wanders over a clip and back."""
    width = frames[0].shape[1]
    wide = width * 3 // 4
    room = width - wide
    for index, frame in enumerate(frames):
        offset = abs((share_per_s * wide * index / fps + room) % (2 * room) - room)
        moved = window_at(frame, offset, wide)
        yield moved, NOBODY


def window_at(frame: Image, left: float, wide: int) -> Image:
    matrix = np.array([[1, 0, -left], [0, 1, 0]], np.float64)
    size = (wide, frame.shape[0])
    return np.asarray(cv2.warpAffine(frame, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def compressed(clip: Clip, fps: float) -> Clip:
    """The clip after an encoder has had it."""
    first, rest = next(clip), clip
    people = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        size = (first[0].shape[1], first[0].shape[0])
        with VideoWriter(path, size=size, fps=fps) as writer:
            for frame, those in itertools.chain([first], rest):
                writer.write(frame)
                people.append(those)
        with open_video(path) as video:
            for frame, those in zip(video, people, strict=True):
                yield frame.image[: size[1], : size[0]], those


def watch(clip: Iterable[tuple[Image, Floats]], fps: float) -> CameraMotion:
    watched = None
    for index, (frame, people) in enumerate(clip):
        watched = watched or CameraWatch((frame.shape[1], frame.shape[0]))
        watched.add(frame, index / fps, people)
    assert watched is not None
    return watched.finish()


def report(name: str, wanted: str, motion: CameraMotion) -> str | None:
    """Print a verdict; what is wrong with it, or None."""
    wrong = None
    if motion.moves != (wanted == "moving"):
        wrong = "FALSE ALARM" if motion.moves else "MISSED"
    elif motion.kind != wanted:
        wrong = "differs"
    elif motion.cuts:
        wrong = "FALSE CUT"
    print(
        f"{name:42} {wanted:8} {motion.kind:8} {100 * motion.share:7.2f} % "
        f"{motion.seen:3}/{motion.looks:<3} {wrong or ''}",
        flush=True,
    )
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the watch over the camera.")
    parser.add_argument("videos", type=Path, nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    print(f"moving: a person 4 m away carried by more than {100 * SHAKING_M:g} cm")
    print(f"{'clip':42} {'is':8} {'called':8} {'largest':>9} seen")
    wrongs: list[str | None] = []
    for name, wanted, clip in made_up(arguments.seed):
        wrongs.append(report(name, wanted, watch(clip, FPS)))
    wrongs.append(
        report("tripod, H.264", "still", watch(compressed(filmed(
            np.random.default_rng(arguments.seed), still), FPS), FPS))
    )  # fmt: skip
    for path in arguments.videos:
        with open_video(path) as video:
            fps = video.fps
            frames = [frame.image for frame in video]
        wrongs.append(report(path.name, "still", watch(((f, NOBODY) for f in frames), fps)))
        slowest = None
        for share in (0.0005, 0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 1.5):
            travel = share * len(frames) / fps  # of the width
            wanted = "moving" if travel > 0.014 else "shaking" if travel > 0.0028 else "still"
            for kind in ("", ", H.264"):
                clip = cut_out(frames, share, fps)
                motion = watch(compressed(clip, fps) if kind else clip, fps)
                name = f"  window, {100 * share:g} % per s{kind}"
                wrongs.append(report(name, wanted, motion))
                if motion.kind != "still" and slowest is None:
                    slowest = share
        if slowest is not None:
            print(f"slowest window noticed: {100 * slowest:g} % of the width per s")
        time_it(path.name, frames, fps)
    counts = {
        kind: wrongs.count(kind) for kind in ("FALSE ALARM", "MISSED", "FALSE CUT", "differs")
    }
    print(f"{len(wrongs)} clips: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))


def time_it(name: str, frames: list[Image], fps: float) -> None:
    """Milliseconds per frame; the least of several runs, for what else the machine does."""
    runs = []
    looks = 0
    for _ in range(8):
        watched = CameraWatch((frames[0].shape[1], frames[0].shape[0]))
        spent = []
        for index, frame in enumerate(frames):
            begin = time.perf_counter()
            watched.add(frame, index / fps, NOBODY)
            spent.append(time.perf_counter() - begin)
        runs.append(spent)
        looks = watched.finish().looks
    least = 1000 * np.array(runs).min(0)
    print(
        f"{name}: {least.mean():.2f} ms per frame, {np.sort(least)[-looks:].mean():.2f} ms when it "
        f"is looked at, {np.median(least):.3f} ms otherwise"
    )


if __name__ == "__main__":
    main()
