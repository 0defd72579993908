import numpy as np

from mm_face_stylizer._keras import keras
from mm_face_stylizer.models.mapping import LATENT_DIM, MappingNetwork
from mm_face_stylizer.training.blaze_stylegan import mapping_fit
from mm_face_stylizer.training.blaze_stylegan.mapping_fit import fit_mapping


def test_mapped_noise_has_the_latents_mean_and_spread(monkeypatch):
    # Hundreds of portraits need fewer than thousands do.
    monkeypatch.setattr(mapping_fit, "_CANDIDATES", 1024)
    monkeypatch.setattr(mapping_fit, "_BATCH", 128)
    random = np.random.default_rng(0)
    directions = random.standard_normal((6, 4 * 512)) / 16
    distinct = 0.5 + random.standard_normal((400, 6)) @ directions
    latents = np.repeat(distinct.reshape(400, 4, 512), 2, axis=1).astype(np.float32)
    keras.utils.set_random_seed(0)
    mapping = MappingNetwork(8)
    mapping.build()
    history = fit_mapping(mapping, latents, rounds=15)
    assert history[-1] < 0.6 * history[0]
    noise = np.random.default_rng(1).standard_normal((400, LATENT_DIM)).astype(np.float32)
    mapped = mapping([noise, np.zeros((400, 0), np.float32)]).numpy()
    np.testing.assert_allclose(mapped.mean(), 0.5, atol=0.1)
    wanted, found = latents.std(axis=0).mean(), mapped.std(axis=0).mean()
    assert 0.5 * wanted < found < 1.4 * wanted
