# Everything that one does with the project. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help run stop test test-swift test-foreign interop model rig faults fairness attacks bench \
	bench-full check format lint proto check-proto buf-lint packages test-packages \
	interop-packages clean fuzz fuzz-packages test-asan test-tsan

# What is built against and run with, and what only the tests and checks need.
PACKAGES := libnghttp2-dev libprotobuf-c-dev libpq-dev zlib1g-dev pkg-config postgresql-15
TEST_PACKAGES := protobuf-compiler libprotobuf-dev protobuf-c-compiler nghttp2-client curl \
	python3-venv openssl
FUZZ_PACKAGES := protobuf-compiler libprotobuf-dev

LISTEN ?= 127.0.0.1:50051
SAMPLE ?= 100000
RUN := .run
# Root's server drops to another user, who must be able to reach its files.
DATA_DIR ?= $(shell if [ "$$(id -u)" != 0 ] || runuser -u postgres -- test -x '$(CURDIR)' 2>/dev/null; \
	then echo "$(CURDIR)/.data"; else echo /var/lib/contacts; fi)
VENV := .build/venv

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: packages ## Builds, starts PostgreSQL and the server, imports a sample
	@swift build -c release --product contactsd
	swift build -c release --product contacts
	bin=$$(swift build -c release --show-bin-path)
	$(MAKE) --no-print-directory stop
	mkdir -p $(RUN)
	echo "starting PostgreSQL and the server"
	setsid nohup "$$bin/contactsd" serve --listen $(LISTEN) --data-dir "$(DATA_DIR)" \
		--auth never >$(RUN)/contactsd.log 2>&1 </dev/null &
	echo $$! >$(RUN)/contactsd.pid
	for _ in $$(seq 600); do
		if grep -q '] ready$$' $(RUN)/contactsd.log; then break; fi
		if ! kill -0 "$$(cat $(RUN)/contactsd.pid)" 2>/dev/null; then
			cat $(RUN)/contactsd.log; rm -f $(RUN)/contactsd.pid; exit 1
		fi
		sleep 0.1
	done
	"$$bin/contacts" sample --count $(SAMPLE) >$(RUN)/sample.csv
	# A key is shown once, so the one of the run before goes.
	"$$bin/contactsd" key revoke --workspace default --name sample --data-dir "$(DATA_DIR)" \
		>/dev/null 2>&1 || true
	(umask 077; "$$bin/contactsd" key create --name sample --data-dir "$(DATA_DIR)" >$(RUN)/key)
	# Exit code 1: some contacts failed. The sample has faulty ones.
	"$$bin/contacts" import $(RUN)/sample.csv --server $(LISTEN) --key-file $(RUN)/key \
		--rejects $(RUN)/sample.rejects.csv || [ $$? = 1 ]
	echo
	echo "a few rows as they stand in the database:"
	psql -X "$$("$$bin/contactsd" conninfo --data-dir "$(DATA_DIR)")" \
		-c "SELECT id, email, phone, name, fields FROM contacts ORDER BY id LIMIT 5"
	echo "the server is up on $(LISTEN), process $$(cat $(RUN)/contactsd.pid), log $(RUN)/contactsd.log"
	echo "use it:  $${bin#$(CURDIR)/}/contacts get --server $(LISTEN) --key-file $(RUN)/key \"$$(psql -XAt \
		"$$("$$bin/contactsd" conninfo --data-dir "$(DATA_DIR)")" \
		-c 'SELECT email FROM contacts ORDER BY id LIMIT 1')\""
	echo "stop it: make stop"

stop: ## Stops the server that `make run` left up
	@[ -f $(RUN)/contactsd.pid ] || exit 0
	pid=$$(cat $(RUN)/contactsd.pid)
	if [ "$$(cat /proc/$$pid/comm 2>/dev/null)" = contactsd ]; then
		kill -TERM "$$pid"
		while kill -0 "$$pid" 2>/dev/null; do sleep 0.1; done
		echo "stopped the server, process $$pid"
	fi
	rm -f $(RUN)/contactsd.pid

test: test-swift test-foreign ## Runs every test, with the PostgreSQL that they start

BLOCKING := ^(IngestTests|PostgresTests)[.]
test-swift: packages test-packages
	@swift build --build-tests
	# Apart, since libpq blocks the few threads on which others would wait for their turn.
	swift test --skip-build --skip '$(BLOCKING)'
	swift test --skip-build --filter '$(BLOCKING)'

test-foreign: packages test-packages $(VENV)/made
	@swift build --product contactsd
	swift build --product interopserver
	CONTACTSD="$$(swift build --show-bin-path)/contactsd" \
		$(VENV)/bin/python -m pytest -q Tests/Foreign

# gRPC's own interop clients are built from Debian's source packages, which takes minutes, once.
INTEROP := .build/interop
INTEROP_PACKAGES := dpkg-dev g++ libgrpc++-dev libprotobuf-dev libabsl-dev protobuf-compiler \
	protobuf-compiler-grpc golang-go golang-google-grpc-dev golang-google-protobuf-dev \
	golang-github-golang-protobuf-1-5-dev
interop: packages test-packages interop-packages $(VENV)/made ## Runs gRPC's interop cases with foreign clients
	@swift build --product interopserver
	Tests/Interop/peers.sh $(INTEROP)
	$(VENV)/bin/python Tests/Interop/matrix.py "$$(swift build --show-bin-path)/interopserver" \
		$(INTEROP) $(VENV)

interop-packages:
	@$(call install,$(INTEROP_PACKAGES))

# libFuzzer on each target in turn, from the corpus in the tree. What is found stays in
# .build-fuzz/found; `.build-fuzz/fuzz TARGET FILE` repeats it. SECONDS=0 only replays the corpus.
FUZZ_TARGETS := http2 envelope request csv ndjson
TARGET ?= $(FUZZ_TARGETS)
FUZZ_SECONDS = $(if $(filter file,$(origin SECONDS)),60,$(SECONDS))
# Swift's own report of a crash would come between the crash and libFuzzer's.
fuzz: export SWIFT_BACKTRACE := enable=no
fuzz: packages fuzz-packages ## Fuzzes for SECONDS=60 each TARGET='http2 envelope request csv ndjson'
	@export CONTACTS_FUZZ=1
	# lld, since gold fails on what the sanitizer adds to the debug information.
	build=(swift build -c release --product fuzz --scratch-path .build-fuzz --sanitize=address \
		-Xswiftc -sanitize=fuzzer -Xswiftc -enable-testing -Xswiftc -use-ld=lld \
		-Xcc -fsanitize=fuzzer-no-link)
	"$${build[@]}"
	ln -sf "$$("$${build[@]}" --show-bin-path)/fuzz" .build-fuzz/fuzz
	protoc --include_imports --descriptor_set_out=.build-fuzz/contacts.protoset \
		-Iproto contacts/v1/contacts.proto
	for target in $(TARGET); do
		Tests/Fuzz/run.sh "$$target" $(FUZZ_SECONDS)
	done

# With a sanitizer, whose report fails the run. Everything is built anew, in its own folder.
test-asan: packages test-packages $(VENV)/made ## Runs all tests with the address sanitizer
	@Tests/Sanitizers/run.sh address $(VENV)/bin/python

test-tsan: packages test-packages $(VENV)/made ## Runs the Swift tests with the thread sanitizer
	@Tests/Sanitizers/run.sh thread $(VENV)/bin/python

# A seed that fails prints itself; MODEL_SEED=n in the environment repeats it.
SECONDS ?= 600
model: packages test-packages $(VENV)/made ## Compares random imports with the model for SECONDS=600
	@swift build --product contactsd
	CONTACTSD="$$(swift build --show-bin-path)/contactsd" MODEL_SECONDS=$(SECONDS) \
		$(VENV)/bin/python -m pytest -qs Tests/Foreign/test_model.py

# A seed that fails prints itself; RIG_SEED=n in the environment repeats it.
RUNS ?= 200
RIG_CONTACTS ?= 20000
rig: packages test-packages $(VENV)/made ## Brings RUNS=200 imports of RIG_CONTACTS=20000 through random faults
	@swift build --product contactsd
	CONTACTSD="$$(swift build --show-bin-path)/contactsd" \
		RIG_RUNS=$(RUNS) RIG_CONTACTS=$(RIG_CONTACTS) \
		$(VENV)/bin/python -m pytest -q Tests/Foreign/test_rig.py

faults: packages test-packages $(VENV)/made ## Measures what the README promises of single faults
	@swift build -c release --product contactsd
	swift build -c release --product contacts
	CONTACTSD="$$(swift build -c release --show-bin-path)/contactsd" \
		$(VENV)/bin/python Tests/Foreign/fault_figures.py

fairness: packages test-packages $(VENV)/made ## Measures what a noisy key costs a quiet one
	@swift build -c release --product contactsd
	CONTACTSD="$$(swift build -c release --show-bin-path)/contactsd" \
		$(VENV)/bin/python Tests/Foreign/fairness_figures.py

# FLAGS are further options, such as FLAGS='--seconds 5 PING'; see attack_figures.py --help.
attacks: packages test-packages $(VENV)/made ## Measures what attackers cost the server and its other clients
	@swift build -c release --product contactsd
	swift build -c release --product contacts
	CONTACTSD="$$(swift build -c release --show-bin-path)/contactsd" \
		$(VENV)/bin/python Tests/Foreign/attack_figures.py $(FLAGS)

# FLAGS are further options of the bench, such as FLAGS='--only new,changed'; see bench --help.
CONTACTS ?= 200000
PAIRS ?= 3
FLAGS ?=
bench: packages ## Measures against psql: CONTACTS=200000, PAIRS=3 runs of each side
	@swift build -c release --product contactsd
	swift build -c release --product bench
	"$$(swift build -c release --show-bin-path)/bench" \
		--contacts $(CONTACTS) --pairs $(PAIRS) $(FLAGS)

bench-full: ## The same with a million contacts, ten million where growth is measured
	@$(MAKE) --no-print-directory bench CONTACTS=1000000

check: lint buf-lint check-proto ## Checks formatting, the proto and the generated code

format: ## Formats the Swift sources
	@swift format --in-place --recursive Package.swift Sources Tests

lint:
	@swift format lint --strict --recursive Package.swift Sources Tests
	echo "formatting is right"

buf-lint: $(VENV)/made
	@$(VENV)/bin/buf lint proto
	$(VENV)/bin/buf format --diff --exit-code proto
	echo "the proto is right"

proto: test-packages ## Generates the C of the messages and descriptors from proto/
	@proto/generate-c.sh Sources/CContactsProto
	proto/generate-descriptors.sh Sources/CDescriptors

check-proto: test-packages ## Proves that the committed C is what proto/ generates
	@proto/generate-c.sh .build/check-proto
	diff -r .build/check-proto Sources/CContactsProto
	proto/generate-descriptors.sh .build/check-descriptors
	diff -r .build/check-descriptors Sources/CDescriptors
	echo "the generated code is up to date"

$(VENV)/made: Tests/Foreign/requirements.txt | test-packages
	@python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r Tests/Foreign/requirements.txt
	touch $@

packages:
	@$(call install,$(PACKAGES))

fuzz-packages:
	@$(call install,$(FUZZ_PACKAGES))

test-packages:
	@$(call install,$(TEST_PACKAGES))

clean: stop ## Removes what was built; the data in .data stays
	@rm -rf .build .build-fuzz .build-asan .build-tsan $(RUN)

# Installs what is missing of a list of Debian packages.
define install
missing=()
for package in $(1); do
	dpkg-query -W -f '$${Status}' "$$package" 2>/dev/null | grep -q 'ok installed' \
		|| missing+=("$$package")
done
if [ "$${#missing[@]}" -gt 0 ]; then
	echo "installing $${missing[*]}"
	sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo
	$$sudo apt-get update -qq
	DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -qq -y --no-install-recommends \
		"$${missing[@]}" >/dev/null
fi
endef
