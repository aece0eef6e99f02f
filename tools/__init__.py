"""Programs for those who work on gpunet; none of them is installed."""
