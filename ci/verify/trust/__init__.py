"""Trust: the signer, the sigstore instance, and the signatures made with both.

In reading order: `policy` (trusted signer, requirements for certificates), `policy_file` (what is
kept of them, and the newest releases), `root` (the trust root), `bundles` (signatures), `refresh`
(the current public root by TUF). `trusted_root.json` is the reviewed copy of the public root;
README.md names its source.
"""
