"""Programs that regenerate every figure and table the project quotes."""
