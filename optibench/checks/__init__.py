"""What the doctor looks at: a file a group. Each has pure functions that make a finding of text and numbers, so that
tests can give other machines', and a ``look`` that reads this machine."""
