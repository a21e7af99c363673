"""What is done about latents that do not fire."""
