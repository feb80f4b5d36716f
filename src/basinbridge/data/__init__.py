"""Data: labelled images as whole tensors, batches from them, and the data sets of the paper."""
