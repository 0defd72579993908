"""Recipe of translators: unpaired training, a warm start from paintings, a search for latency."""
