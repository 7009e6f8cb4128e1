"""What networks cost and take, and their export to ONNX. All of it needs PyTorch."""

from typing import TYPE_CHECKING

from lithepose.lazy import attach

if TYPE_CHECKING:
    from lithepose.deploy.cost import count_cost
    from lithepose.deploy.export import export_onnx, export_pose_network
    from lithepose.deploy.latency import measure_latency, measure_memory
    from lithepose.deploy.report import profile_network

__all__ = [
    "count_cost",
    "export_onnx",
    "export_pose_network",
    "measure_latency",
    "measure_memory",
    "profile_network",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "cost": "count_cost",
        "export": "export_onnx export_pose_network",
        "latency": "measure_latency measure_memory",
        "report": "profile_network",
    },
)
