"""Selective search (Uijlings et al., IJCV 2013), *fast* mode: OpenCV's boxes in its order, without its repetitions.

A photo is split into regions by colour, and the most similar neighbours merge, until one region is left. The bounding
boxes of all regions on the way are the proposals. *Fast* mode does this twelve times: for 2 colour spaces, 3 scales of
the first regions and 2 measures of similarity.

| module | step | of |
|---|---|---|
| ``edges`` | edges between pixels, lightest first | Felzenszwalb & Huttenlocher (IJCV 2004), Sec. 3 |
| ``segmentation``, ``ties`` | first regions | the same, Sec. 3 and 5 |
| ``regions`` | sizes, boxes and neighbours of the first regions | Uijlings et al., Sec. 3.1 |
| ``texture``, ``histograms`` | features of the first regions | Sec. 3.2 |
| ``grouping``, ``introsort`` | hierarchical grouping | Sec. 3.1, Algorithm 1, and 3.2 |
| ``ranking`` | order of all boxes | Sec. 3.3 |
| ``search`` | all steps, for one photo | |
| ``opencv`` | OpenCV's own search, the measure of this one | |
| ``readiness`` | whether the compiled code is there and finds what OpenCV finds | |
| ``proposals`` | boxes of a photo, by this search or by OpenCV's | |

OpenCV computes much of this again and again: each edge twice, the same edges for each scale, one pass over the photo
for the colours of each region, gradients for each grouping. Here everything is computed once. Operations on the whole
photo (colours, blur, gradients, rotations) remain calls of OpenCV, so that they are equal bit by bit; numba compiles
the others. Sums are single precision and added in OpenCV's order, because a last bit can change which regions merge
first.
"""
