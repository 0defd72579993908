"""How long does fine-tuning take, and how much faster is a step than one of the published recipe?

    python -m benchmarks.studies.few_shot [--rounds 20]

Times the whole `create` command, and single training steps of both recipes, which alternate and
tune the same synthesis network with the same batch size. The published recipe compares pictures by
five feature maps of a VGG19. Here it has random weights, which take the same time as trained ones
and need no download.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from mm_face_stylizer.preset import Preset

_BATCH = 4
_VGG_LAYERS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


def _vgg_features(keras):
    """Returns a VGG19 whose outputs are the maps after the first convolution of each block."""
    image = keras.Input((256, 256, 3), batch_size=_BATCH)
    x, maps = image, []
    for block, (filters, count) in enumerate(_VGG_LAYERS):
        for index in range(count if block < len(_VGG_LAYERS) - 1 else 1):
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
            if index == 0:
                maps.append(x)
        if block < len(_VGG_LAYERS) - 1:
            x = keras.layers.MaxPool2D()(x)
    network = keras.Model(image, maps)
    network.trainable = False
    return network


def _published_step(networks, keras, tf):
    """Returns a compiled step with the published losses: L1, content, style, discriminator."""
    from mm_face_stylizer.models.blaze_stylegan.generator import copied
    from mm_face_stylizer.training import losses

    vgg, synthesis = _vgg_features(keras), copied(networks.synthesis)
    last = f"block{synthesis.image_size // 2}_to_rgb"
    variables = [
        v for v in synthesis.trainable_variables if "to_rgb" not in v.name or last in v.name
    ]
    optimizer = keras.optimizers.Adam(8e-4, 0.0, 0.99)
    optimizer.build(variables)
    rows = networks.random_latents(_BATCH, 0)
    style = tf.constant(networks.generated_faces(_BATCH, 1))

    @tf.function
    def step():
        targets = vgg(style)
        with tf.GradientTape() as tape:
            image = synthesis({"inputs": rows})["image"][-1]
            features = vgg(image)
            loss = 0.5 * losses.l1(image, style)
            loss += 4.0 * losses.feature_distance(features, targets)
            loss += losses.gram_distance(features, [losses.gram_matrix(f) for f in targets])
            loss += 0.2 * losses.l1(networks.discriminator(image), networks.discriminator(style))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return lambda: float(step())


def measure_steps(rounds: int) -> dict[str, list[float]]:
    """Times single training steps of both recipes, which alternate.

    Args:
      rounds: Counted steps of each recipe; five more warm up.

    Returns:
      Seconds of each step, under 'ours' and 'published'.
    """
    from mm_face_stylizer._keras import keras, tf
    from mm_face_stylizer.models.blaze_stylegan.drawing import Drawing
    from mm_face_stylizer.models.efficientnet_lite import perceptual_network
    from mm_face_stylizer.models.face_mesh import FaceMeshFeatures
    from mm_face_stylizer.practice_faces import practice_faces
    from mm_face_stylizer.training.blaze_stylegan.drawing_training import FEATURE_TAPS
    from mm_face_stylizer.training.blaze_stylegan.painting_trainer import (
        PaintingOptions,
        PaintingTrainer,
    )
    from mm_face_stylizer.training.precision import fastest_conv_dtype
    from task_bundle.faces.face_models import find_face_models

    networks = Preset.find().networks()
    published = _published_step(networks, keras, tf)
    seconds: dict[str, list[float]] = {"ours": [], "published": []}
    last = [time.perf_counter()]

    def on_step(step: int, values: dict[str, float]) -> None:
        ours = time.perf_counter() - last[0]
        begin = time.perf_counter()
        published()
        theirs = time.perf_counter() - begin
        if step > 5:
            seconds["ours"].append(ours)
            seconds["published"].append(theirs)
        last[0] = time.perf_counter()

    practice = practice_faces(networks.config.image_size, 8)
    options = PaintingOptions(steps=rounds + 5, batch_size=_BATCH, conv_dtype=fastest_conv_dtype())
    mesh = FaceMeshFeatures(find_face_models().landmarks)
    drawing = Drawing.untrained(networks)
    features = perceptual_network(FEATURE_TAPS)
    trainer = PaintingTrainer(networks, drawing, practice[:1], practice, options, mesh, features)
    trainer.fit(on_step)
    return seconds


def measure_command() -> dict[str, float]:
    """Measures wall time and peak memory of the whole `create` command with its defaults."""
    from mm_face_stylizer.style_pictures import draw_style
    from task_bundle.media.images import save_png

    with tempfile.TemporaryDirectory() as folder:
        style = pathlib.Path(folder) / "style.png"
        save_png(style, draw_style("ink"))
        output = pathlib.Path(folder) / "x.task"
        command = [sys.executable, "-m", "mm_face_stylizer.cli", "create", str(style)]
        begin = time.perf_counter()
        subprocess.run([*command, "-o", str(output)], capture_output=True, check=True)
        total = time.perf_counter() - begin
        size = output.stat().st_size
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {
        "total_seconds": total,
        "peak_gib": peak,
        "bundle_bytes": size,
    }


def main() -> None:
    """Measures both, and prints the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="counted steps of each recipe (20)")
    rounds = parser.parse_args().rounds
    command = measure_command()
    steps = measure_steps(rounds)
    ratios = [b / a for a, b in zip(steps["ours"], steps["published"], strict=True)]
    report = {
        "cores": os.cpu_count(),
        "create": {name: round(value, 2) for name, value in command.items()},
        "step_seconds": {
            name: {
                "median": round(statistics.median(values), 3),
                "quartiles": [round(q, 3) for q in statistics.quantiles(values)[::2]],
            }
            for name, values in steps.items()
        },
        "published_over_ours": {
            "median": round(statistics.median(ratios), 2),
            "quartiles": [round(q, 2) for q in statistics.quantiles(ratios)[::2]],
        },
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
