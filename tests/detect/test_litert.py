"""LiteRT files without the outputs that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.assets import ModelsError, model_path
from lithepose.detect import blazepose
from lithepose.detect.litert import LiteRTNetwork, keep_outputs

# Of the tiny model's tensors, by number: three are outputs.
TENSORS = ("picture", "doubled", "fourfold", "squared", "sum")
# (operator, inputs, outputs): fourfold and sum both need doubled, sum also squared.
OPERATORS = (
    ("ADD", (0, 0), (1,)),
    ("ADD", (1, 1), (2,)),
    ("MUL", (0, 0), (3,)),
    ("ADD", (1, 3), (4,)),
)


def tiny_model(
    operators: Sequence[tuple[str, Sequence[int], Sequence[int]]] = OPERATORS,
    outputs: Sequence[int] = (2, 3, 4),
    variables: Sequence[int] = (),
) -> bytes:
    """A .tflite file of additions and products of a picture (1, 2, 2, 3)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    codes = {"ADD": schema.BuiltinOperator.ADD, "MUL": schema.BuiltinOperator.MUL}
    options = {
        "ADD": (schema.BuiltinOptions.AddOptions, schema.AddOptionsT),
        "MUL": (schema.BuiltinOptions.MulOptions, schema.MulOptionsT),
    }
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes = []
    for code in codes.values():
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        model.operatorCodes.append(entry)
    graph.tensors, graph.operators = [], []
    graph.inputs, graph.outputs = [0], list(outputs)
    for number, name in enumerate(TENSORS):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, [1, 2, 2, 3], schema.TensorType.FLOAT32
        tensor.isVariable = number in variables
        graph.tensors.append(tensor)
    for name, inputs, made in operators:
        operator = schema.OperatorT()
        operator.opcodeIndex = list(codes).index(name)
        operator.inputs, operator.outputs = list(inputs), list(made)
        operator.builtinOptionsType, kind = options[name]
        operator.builtinOptions = kind()
        graph.operators.append(operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def parts(model: bytes) -> tuple[list[tuple[int, ...]], list[int]]:
    """The outputs of each operator, and those of the model, as LiteRT's own reader sees them."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(model, 0).Subgraphs(0)
    made = [graph.Operators(i).OutputsAsNumpy() for i in range(graph.OperatorsLength())]
    return [tuple(map(int, numbers)) for numbers in made], graph.OutputsAsNumpy().tolist()


@pytest.mark.parametrize(
    ("wanted", "operators", "outputs"),
    [
        (["fourfold"], [(1,), (2,)], [2]),
        (["squared"], [(3,)], [3]),
        (["sum"], [(1,), (3,), (4,)], [4]),
        (["sum", "fourfold"], [(1,), (2,), (3,), (4,)], [2, 4]),  # in the order of the file
        (["fourfold", "squared", "sum"], [(1,), (2,), (3,), (4,)], [2, 3, 4]),
    ],
)
def test_what_only_the_other_outputs_need_is_left_out(
    wanted: list[str], operators: list[tuple[int, ...]], outputs: list[int], tmp_path: Path
):
    model = tiny_model()
    assert parts(keep_outputs(model, wanted)) == (operators, outputs)
    path = tmp_path / "tiny.tflite"
    path.write_bytes(model)
    picture = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    expected = {
        "fourfold": 4 * picture,
        "squared": picture * picture,
        "sum": 2 * picture + picture * picture,
    }
    network = LiteRTNetwork(path, outputs=wanted)
    network.run(picture)
    for name in wanted:
        np.testing.assert_array_equal(network.output(name), expected[name])
    assert path.read_bytes() == model


def test_an_operator_that_changes_a_state_is_kept_with_what_it_needs():
    # No operator reads what the product of a variable gives, and one has no output at all.
    variable = tiny_model([*OPERATORS[:2], ("MUL", (1, 3), (4,))], outputs=(2, 4), variables=(3,))
    assert parts(keep_outputs(variable, ["fourfold"]))[0] == [(1,), (2,), (4,)]
    mute = tiny_model([*OPERATORS[:3], ("MUL", (3, 3), ())], outputs=(2, 3))
    assert parts(keep_outputs(mute, ["fourfold"]))[0] == [(1,), (2,), (3,), ()]


def test_an_unknown_output_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no output mask; it has fourfold, squared, sum"):
        keep_outputs(tiny_model(), ["sum", "mask"])


@pytest.mark.models
def test_without_the_mask_the_landmarks_are_the_same_to_the_last_bit():
    from ai_edge_litert.interpreter import Interpreter

    try:
        path = model_path("pose_landmark_full", fetch=False)
    except ModelsError:
        pytest.skip("needs the model files: lithepose models fetch")
    whole = path.read_bytes()
    kept = keep_outputs(whole, blazepose.LANDMARK_OUTPUTS)
    assert len(parts(whole)[0]) == 332
    assert len(parts(kept)[0]) == 286
    assert len(parts(kept)[1]) == 4

    full: Any = Interpreter(model_path=str(path), num_threads=1)
    full.allocate_tensors()
    network = LiteRTNetwork(path, outputs=blazepose.LANDMARK_OUTPUTS)
    random = np.random.default_rng(5)
    for size in (1, 4, 16, 64, 256):  # from one colour to noise
        cells = random.random((size, size, 3), dtype=np.float32)
        picture = cells.repeat(256 // size, 0).repeat(256 // size, 1)
        network.run(picture)
        full.set_tensor(full.get_input_details()[0]["index"], picture[None])
        full.invoke()
        outputs = {details["name"]: details["index"] for details in full.get_output_details()}
        assert set(outputs) - set(blazepose.LANDMARK_OUTPUTS) == {"Identity_2"}
        for name in blazepose.LANDMARK_OUTPUTS:
            np.testing.assert_array_equal(network.output(name), full.get_tensor(outputs[name])[0])
