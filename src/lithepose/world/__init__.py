"""From a person before a camera to a person in a world: path, floor, feet, rig."""
