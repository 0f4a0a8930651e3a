"""The double of GitHub behaves as the API description says."""
