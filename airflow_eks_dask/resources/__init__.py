"""What an AWS account is to hold: one module a kind of resource, each found, compared, changed and removed alike."""
