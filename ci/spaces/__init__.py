"""What all that use a bucket share: publishing, the catalogue, imports and preflight.

- `errors`: the errors of an S3 service, as boto3 raises them
"""
