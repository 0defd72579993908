import types

import numpy as np
import pytest

from mm_face_stylizer.model_options import FaceStylizerModelOptions, PerceptualLossWeight


def test_defaults_are_model_makers():
    options = FaceStylizerModelOptions()
    assert options.swap_layers == [4, 5, 10, 11]
    assert options.alpha == 0.1
    assert options.perception_loss_weight == PerceptualLossWeight(l1=0.5, content=4.0, style=1.0)
    assert options.adv_loss_weight == 0.2
    assert PerceptualLossWeight() == PerceptualLossWeight(1.0, 1.0, 1.0)


def test_instances_share_nothing():
    first, second = FaceStylizerModelOptions(), FaceStylizerModelOptions()
    first.swap_layers.append(0)
    first.perception_loss_weight.l1 = 9.0
    assert second == FaceStylizerModelOptions()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("swap_layers", [4, 4]),
        ("swap_layers", [-1]),
        ("swap_layers", [1.0]),
        ("swap_layers", [True]),
        ("swap_layers", "45"),
        ("swap_layers", 4),
        ("swap_layers", None),
        ("swap_layers", {4, 5}),
        ("alpha", -0.01),
        ("alpha", 1.01),
        ("alpha", float("nan")),
        ("alpha", "0.1"),
        ("alpha", None),
        ("alpha", True),
        ("perception_loss_weight", None),
        ("perception_loss_weight", 1.0),
        ("adv_loss_weight", -0.2),
        ("adv_loss_weight", float("inf")),
        ("adv_loss_weight", None),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_what_is_right(name, value):
    with pytest.raises(ValueError, match=f"^{name} is ") as caught:
        FaceStylizerModelOptions(**{name: value})
    assert repr(value) in str(caught.value)
    assert "; it must be " in str(caught.value)


@pytest.mark.parametrize("name", ["l1", "content", "style"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), None, "1"])
def test_a_wrong_perceptual_weight_is_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} is "):
        PerceptualLossWeight(**{name: value})


def test_edges_are_accepted():
    PerceptualLossWeight(0, 0, 0)
    FaceStylizerModelOptions(swap_layers=(), alpha=0, adv_loss_weight=0)
    FaceStylizerModelOptions(swap_layers=np.arange(12), alpha=np.float32(1))


def test_perceptual_weights_of_model_maker_serve():
    weights = types.SimpleNamespace(l1=1.0, content=2.0, style=3.0)
    assert FaceStylizerModelOptions(perception_loss_weight=weights).perception_loss_weight.l1 == 1.0
    weights.style = -3.0
    with pytest.raises(ValueError, match="perception_loss_weight.style is -3.0"):
        FaceStylizerModelOptions(perception_loss_weight=weights)


def test_check_rows():
    options = FaceStylizerModelOptions(swap_layers=[0, 11, 12, 40])
    with pytest.raises(ValueError, match=r"\[0, 11, 12, 40\].* rows 0 to 11, but not 12, 40"):
        options.check_rows(12)
    options.check_rows(41)
    FaceStylizerModelOptions().check_rows(12)
    FaceStylizerModelOptions(swap_layers=[]).check_rows(1)
