"""Many runs in a row, and the reports and figures made of them."""
