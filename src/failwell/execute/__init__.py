"""Running tools so that they can be stopped without their cooperation."""
