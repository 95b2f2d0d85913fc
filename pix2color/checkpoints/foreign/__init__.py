"""Networks of others: their published weights as release files of our own parts."""
