"""From a history to ranked items: candidates, filters, reranking."""
