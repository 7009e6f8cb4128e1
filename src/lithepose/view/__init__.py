"""Results for the eye: stills, overlay videos and pages."""
