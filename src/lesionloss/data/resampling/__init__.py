"""Images and labels on other grids: along parallel axes, or along a rigid motion."""
