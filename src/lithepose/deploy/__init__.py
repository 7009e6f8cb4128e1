"""What networks cost and take (`cost`, `latency`, `report`), and their export to ONNX (`export`).

Nothing is imported here: all of it needs PyTorch.
"""
