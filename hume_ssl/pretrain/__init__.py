"""Self-supervised training on the user's own images: two views of an image are alike, those of others are not."""
