"""Sequences in the numbers of a network: joints, names."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.datasets.sequences import PoseSequence
from lithepose.metrics.protocols import PROTOCOLS
from lithepose.skeletons import SKELETONS
from lithepose.train.windows import mirrored, network_sequence, reordered, trial_of_source


def seen_by_coco(keypoints: np.ndarray) -> PoseSequence:
    """A sequence of HumanEva-I with a detector's joints."""
    count = len(keypoints)
    return PoseSequence(
        subject="Validate/S1",
        action="Box",
        trial="Box 1 chunk0",
        view="C1",
        keypoints=keypoints,
        keypoints_skeleton="coco17",
        joints_camera=np.zeros((count, 15, 3), np.float32),
        root_camera=np.ones((count, 3), np.float32),
        skeleton="humaneva15",
        counted=np.ones(count, bool),
        image_size=(640, 480),
        fps=60.0,
        camera=None,
    )


def test_joints_that_a_detector_lacks_are_built_from_those_it_has():
    coco, humaneva = SKELETONS["coco17"], SKELETONS["humaneva15"]
    keypoints = np.random.default_rng(0).uniform(0, 480, (4, 17, 2)).astype(np.float32)
    part = network_sequence(seen_by_coco(keypoints), "humaneva15", 3)
    screen = (2 * keypoints - (640, 480)) / 640
    hips = screen[:, [coco.index("left_hip"), coco.index("right_hip")]]
    np.testing.assert_allclose(
        part.inputs[:, humaneva.index("pelvis"), :2], hips.mean(1), atol=1e-5
    )
    wrist = "left_wrist"
    np.testing.assert_allclose(
        part.inputs[:, humaneva.index(wrist), :2], screen[:, coco.index(wrist)], atol=1e-5
    )
    assert (part.inputs[..., 2] == 1).all()
    assert part.lens is None


def test_missing_2d_joints_are_refused():
    keypoints = np.ones((4, 17, 2), np.float32)
    keypoints[2, 12] = np.nan
    with pytest.raises(ValueError, match=r"Box 1 chunk0 C1: the 2D joints .* do not give all"):
        network_sequence(seen_by_coco(keypoints), "humaneva15", 2)


def test_joints_of_both_data_sets_are_put_into_each_others_order_and_back():
    joints = np.arange(17.0)[:, None]
    there = reordered(joints, "mpi_inf_3dhp17", "h36m17")
    assert there[:, 0].tolist() == [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
    np.testing.assert_array_equal(reordered(there, "h36m17", "mpi_inf_3dhp17"), joints)


def test_drifting_videos_have_the_names_that_protocols_leave_out():
    names = {
        trial_of_source(f"{name}_ca_01")
        for name in ("s_09_act_05_subact_02", "s_09_act_10_subact_02", "s_09_act_13_subact_01")
    }
    assert names | {("S11", "Directions")} == {*PROTOCOLS["human36m-motionbert"].excluded}
    assert trial_of_source("s_11_act_16_subact_01_ca_04") == ("S11", "WalkTogether 1")
    for wrong in ("walking", "s_09_act_01_subact_02", "s_09_act_17_subact_01", "a_b_c_d_e_f"):
        with pytest.raises(ValueError, match="is no video of Human3"):
            trial_of_source(wrong)


def test_mirroring_twice_changes_nothing():
    values = np.random.default_rng(0).standard_normal((3, 15, 3))
    np.testing.assert_array_equal(mirrored(mirrored(values, "humaneva15"), "humaneva15"), values)
