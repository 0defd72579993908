import pytest

from mm_face_stylizer.training.precision import fastest_conv_dtype


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        (["fpu avx512f avx512_bf16 xsave"] * 2, "bfloat16"),
        (["fpu amx_bf16"], "bfloat16"),
        (["fpu avx512f avx2"] * 2, "float32"),
        # A virtual machine may move to the processor that has less.
        (["fpu avx512_bf16", "fpu"], "float32"),
        ([], "float32"),
    ],
)
def test_the_processor_is_asked(flags, dtype, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("".join(f"processor\t: {i}\nflags\t\t: {f}\n" for i, f in enumerate(flags)))
    assert fastest_conv_dtype(path) == dtype


def test_other_systems_have_no_such_description(tmp_path):
    assert fastest_conv_dtype(tmp_path / "missing") == "float32"
