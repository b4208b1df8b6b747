"""The store: finished work under content fingerprints, published atomically, never edited afterwards."""
