"""Stage 2: neighbours, RoIs and pairs, and the trials and orders made of them."""
