"""A plan that is carried out twice does no harm, and a mirror serves what was signed."""
