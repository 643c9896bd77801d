"""Where images come from: files, an array, an archive, a torchvision data set, a saved Hugging Face data set."""
