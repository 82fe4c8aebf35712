"""Reference drawings, which the generator draws from: the store, nearest neighbours, credits."""
