.DEFAULT_GOAL := help
.PHONY: help proto check-proto

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

proto: ## Generates the C of the messages from proto/
	@proto/generate-c.sh Sources/CContactsProto

check-proto: ## Proves that the committed C is what proto/ generates
	@proto/generate-c.sh .build/check-proto
	@diff -r .build/check-proto Sources/CContactsProto && echo "generated code is up to date"
