"""The words of the explorer, in the order in which a newcomer meets them."""

from __future__ import annotations

TERMS = {
    "dataset": "A folder of photos. They stay where they are and are never changed.",
    "encoder": "A network that turns a photo, or a region of it, into a feature.",
    "feature": "A list of numbers. Photos or regions that look alike to the encoder have similar features.",
    "cosine (cos)": "How similar two features are: 1 for the same direction, 0 for none in common.",
    "stage 1": "Pre-training: an encoder learns from whole photos, without labels (BYOL).",
    "stage 2": "Mining: neighbours, RoIs and pairs are found with an encoder, and make a correspondence set.",
    "stage 3": "Training on a correspondence set (ORL): the two regions of each pair shall look alike to the encoder.",
    "starter": "A small encoder that comes with ORL Explorer. It was trained with labels, so use it to explore.",
    "neighbour (K)": "One of the K photos of the dataset that are most similar to a photo as a whole.",
    "raw box": "A rectangle that may hold an object. Selective search proposes some 1500 of them for each photo.",
    "RoI": "Region of interest: a raw box that is kept, by its size, shape and overlap with the others.",
    "pair": "A RoI of a photo (the query) and a similar RoI of one of its neighbours (the key).",
    "share kept (N)": "Of the pairs with one neighbour only the best are kept: N times the number of the photo's RoIs.",
    "margin": "How much more similar a key is than the next best RoI. Small: nearly a tie. Negative: not the best.",
    "way back (↺, cycle)": "The RoI of the query's photo that is most similar to the key. Consistent: it is the query.",
    "objectness": "How likely a RoI is to hold an object, by the encoder's attention and the look of the photo.",
    "worth": "Similarity of a pair plus the weighted objectness and sparseness of its RoIs. It decides which are kept.",
    "correspondence set": "What mining makes: the neighbours, RoIs and pairs of all photos, with the settings used.",
    "preset": "Settings that belong together: for mining paper or object, for training paper, small, medium or adapt.",
    "verdict": "What a person says of a pair: good, wrong or interesting. Training can leave out wrong ones.",
    "probe pair": "A pair between fixed photos, found anew during a training, to see what the encoder learns.",
    "RankMe": "How many directions features use. If it falls towards 1, the encoder says the same of all photos.",
}
