"""The Search tab: pictures of the gallery by what they mean, by a picture, and by what they should not be."""
