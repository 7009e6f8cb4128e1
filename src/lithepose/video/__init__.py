"""Video: frames in, frames out, and what the camera did."""
