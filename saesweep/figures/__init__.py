"""What is looked at: data figures, heatmaps, curves and animations, drawn from what is on disk."""
