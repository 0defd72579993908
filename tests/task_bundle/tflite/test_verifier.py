"""Tests of task_bundle.tflite.verifier."""

import inspect
import struct
import time
from collections.abc import Callable
from types import ModuleType

import flatbuffers
import pytest

from task_bundle.errors import BundleError
from task_bundle.tflite import schema, verifier
from task_bundle.tflite.metadata import stylizer_metadata
from task_bundle.tflite.verifier import REFERENCES, fields_of, verify

_SCHEMAS = {
    "litert": schema.model_schema,
    "mediapipe": lambda: schema._load_from_mediapipe("schema_py_generated"),
    "metadata": schema.metadata_schema,
}


def _tables(module: ModuleType) -> list[str]:
    return [
        name
        for name, member in vars(module).items()
        if inspect.isclass(member) and hasattr(member, "Init") and f"{name}T" in vars(module)
    ]


def _what_it_points_to(module: ModuleType, table: str, field: str) -> str:
    """Returns the type in the notation of REFERENCES, from the source of the accessor."""
    source = inspect.getsource(getattr(getattr(module, table), field))
    listed = f"{table}Start{field}Vector" in vars(module)
    if "_tab.Union" in source:
        return "union"
    if "_tab.String" in source:
        target = "string"
    elif "obj = " in source:
        target = source.split("obj = ")[1].split("(")[0]
    else:
        target = ""
    return f"[{target}]" if listed and target else target


@pytest.mark.parametrize("name", _SCHEMAS)
def test_every_offset_of_the_schemas_is_known(name: str) -> None:
    module = _SCHEMAS[name]()
    tables = _tables(module)
    assert len(tables) > 20
    for table in tables:
        for field in fields_of(module, table).values():
            if field.target is not None:
                known = "union" if field.target.startswith("union ") else field.target
                assert known == _what_it_points_to(module, table, field.name), (table, field.name)
                assert field.target or field.element in (1, 2, 4, 8)


def test_every_listed_field_is_in_the_schema() -> None:
    newest = [schema.model_schema(), schema.metadata_schema()]
    for table, references in REFERENCES.items():
        (module,) = (m for m in newest if hasattr(m, table))
        names = {field.name for field in fields_of(module, table).values()}
        assert set(references) <= names
        for target in references.values():
            word = target.removeprefix("union ").strip("[]")
            assert word == "string" or hasattr(module, word)


def test_sizes_of_fields_are_those_of_the_schema() -> None:
    fields = fields_of(schema.model_schema(), "Tensor")
    assert [(fields[i].name, fields[i].size) for i in (0, 1, 2)] == [
        ("Shape", 4),
        ("Type", 1),
        ("Buffer", 4),
    ]
    assert fields[0].element == 4


def test_real_models_pass(face_models, make_stylizer) -> None:
    for model in (face_models.detector, face_models.landmarks, stylizer_metadata(make_stylizer())):
        schema.read_model(model)
        schema.read_model(model + b"associated files")


def _verify(data: bytes) -> None:
    verify(data, schema.model_schema(), "Model", "it is damaged")


def test_every_truncation_is_refused(make_stylizer) -> None:
    model = make_stylizer(64)
    for length in range(len(model)):
        with pytest.raises(BundleError, match="^it is damaged: "):
            _verify(model[:length])


def test_every_changed_word_is_refused_or_harmless(make_stylizer) -> None:
    model = make_stylizer(64)
    refused = 0
    for place in range(0, len(model) - 3, 4):
        for value in (0xFFFFFFFF, 0x7FFFFFFF, len(model), len(model) - 4, 1, 2):
            changed = bytearray(model)
            changed[place : place + 4] = struct.pack("<I", value)
            try:
                _verify(bytes(changed))
            except BundleError:
                refused += 1
                continue
            # What passes the check can be unpacked completely.
            root = schema.model_schema().Model.GetRootAs(bytes(changed), 0)
            schema.model_schema().ModelT.InitFromObj(root)
    assert refused > len(model) / 4


def _vectors_of_vectors() -> bytes:
    """Five hundred references to one graph, with five hundred references to one operator."""
    tfl = schema.model_schema()
    builder = flatbuffers.Builder(0)
    tfl.OperatorStart(builder)
    part = tfl.OperatorEnd(builder)
    for start_vector, start, add in (
        (tfl.SubGraphStartOperatorsVector, tfl.SubGraphStart, tfl.SubGraphAddOperators),
        (tfl.ModelStartSubgraphsVector, tfl.ModelStart, tfl.ModelAddSubgraphs),
    ):
        start_vector(builder, 500)
        for _ in range(500):
            builder.PrependUOffsetTRelative(part)
        vector = builder.EndVector()
        start(builder)
        add(builder, vector)
        part = builder.EndObject()
    builder.Finish(part, schema.MODEL_IDENTIFIER)
    # The data are long enough that the length of the vectors is plausible.
    return bytes(builder.Output()) + bytes(10**6)


def _shared_buffer() -> bytes:
    """A thousand references to one long buffer."""
    tfl = schema.model_schema()
    builder = flatbuffers.Builder(0)
    data = builder.CreateByteVector(bytes(100_000))
    buffers = []
    for _ in range(1000):
        tfl.BufferStart(builder)
        tfl.BufferAddData(builder, data)
        buffers.append(tfl.BufferEnd(builder))
    tfl.ModelStartBuffersVector(builder, len(buffers))
    for buffer in buffers:
        builder.PrependUOffsetTRelative(buffer)
    vector = builder.EndVector()
    tfl.ModelStart(builder)
    tfl.ModelAddBuffers(builder, vector)
    builder.Finish(tfl.ModelEnd(builder), schema.MODEL_IDENTIFIER)
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("make", "reason"),
    [(_vectors_of_vectors, "more than 20,000 parts"), (_shared_buffer, "longer than the file")],
)
def test_small_files_that_unpack_to_large_ones(make: Callable[[], bytes], reason: str) -> None:
    began = time.process_time()
    with pytest.raises(BundleError, match=reason):
        schema.unpack_model(make())
    assert time.process_time() - began < 1


def test_strings_must_end_with_a_zero_byte(make_stylizer) -> None:
    model = make_stylizer(64)
    place = model.index(b"stylized\0") + len("stylized")
    with pytest.raises(BundleError, match="has no end"):
        _verify(model[:place] + b"!" + model[place + 1 :])


def test_unknown_kinds_of_options_are_refused(
    make_stylizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_stylizer(64)
    tfl = schema.model_schema()
    monkeypatch.delattr(tfl.BuiltinOptions, "Conv2DOptions")
    with pytest.raises(BundleError, match="BuiltinOptions has the unknown kind 1"):
        _verify(model)


def test_new_kinds_of_fields_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(verifier._SIZES, "Float32")
    fields_of.cache_clear()
    with pytest.raises(KeyError, match="Float32"):
        fields_of(schema.model_schema(), "LeakyReluOptions")
