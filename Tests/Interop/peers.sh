#!/usr/bin/env bash
# Builds gRPC's own interop clients, in C++, Go and Python, from Debian's source packages, and a
# client on grpc-swift and another on grpc-go: `make interop`. What is built once stays; nothing of it
# is committed.
#
# In: the folder to build in; the packages that the Makefile installs. Out, in that folder:
# cpp/client, go/client, go/compression, python/ and venv/, grpc-swift/debug/Client.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
folder=$PWD

# The source packages, from the mirrors of the machine's own Debian, without touching its settings.
fetch() {
	[ -d "source/$1" ] && return
	echo "fetching the source of $1"
	mkdir -p apt/parts apt/lists/partial apt/cache source
	sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources >apt/parts/debian.sources
	local settings=(-qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$folder/apt/parts"
		-o "Dir::State::lists=$folder/apt/lists" -o "Dir::Cache=$folder/apt/cache"
		-o APT::Sandbox::User=root)
	apt-get "${settings[@]}" update
	(cd source && apt-get "${settings[@]}" source --download-only "$1" \
		&& dpkg-source -x "$1"_*.dsc "$1.part" >/dev/null)
	mv "source/$1.part" "source/$1"
}

build_cpp() {
	[ -x cpp/client ] && return
	echo "building the C++ client"
	mkdir -p cpp/generated cpp/objects
	cd source/grpc
	local protos=(src/proto/grpc/testing/{empty,messages,test}.proto) file objects=()
	protoc -I. --cpp_out=../../cpp/generated --grpc_out=../../cpp/generated \
		--plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" "${protos[@]}"
	# The client's main ignores what a case answers, so that a case which gives up would count.
	sed -i 's/^\( *\)\(actions.find(.*)->second()\);/\1if (!\2) ret = 1;/' test/cpp/interop/client.cc
	grep -q ') ret = 1;' test/cpp/interop/client.cc
	for file in test/cpp/interop/{client,client_helper,interop_client}.cc \
		test/cpp/util/{create_test_channel,test_config_cc,test_credentials_provider}.cc \
		test/core/util/{build,histogram,stack_tracer,test_config}.cc \
		test/core/event_engine/test_init.cc test/core/security/oauth2_utils.cc \
		test/core/end2end/data/{server1_cert,server1_key,test_root_cert}.cc \
		../../cpp/generated/src/proto/grpc/testing/{empty.pb,messages.pb,test.pb,test.grpc.pb}.cc; do
		objects+=("../../cpp/objects/$(basename "$file" .cc).o")
		g++ -std=c++17 -w -I. -Iinclude -I../../cpp/generated -Isrc/core/ext/upb-generated \
			-Ithird_party/upb -c "$file" -o "${objects[-1]}"
	done
	g++ "${objects[@]}" -o ../../cpp/client -lgrpc++ -lgrpc -lgpr -lprotobuf $(pkg-config --libs \
		absl_flags absl_flags_parse absl_strings absl_str_format absl_status \
		absl_failure_signal_handler)
	cd "$folder"
}

build_go() {
	echo "building the Go clients"
	mkdir -p go/src/google.golang.org
	ln -sfn "$folder/source/golang-google-grpc" go/src/google.golang.org/grpc
	export GO111MODULE=off GOCACHE="$folder/go/cache" GOPATH="$folder/go:/usr/share/gocode"
	(cd go/src/google.golang.org/grpc/interop/client && go build -o "$folder/go/client" .)
	go build -o go/compression "$here/GoCompression/main.go"
}

build_python() {
	[ -e python/made ] && return
	echo "installing the Python client"
	python3 -m venv venv
	venv/bin/pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
	mkdir -p python
	(cd source/grpc && ../../venv/bin/python -m grpc_tools.protoc -I. --python_out=../../python \
		--grpc_python_out=../../python src/proto/grpc/testing/{empty,messages,test}.proto)
	touch python/made
}

fetch grpc
fetch golang-google-grpc
build_cpp
build_go
build_python
echo "building the Swift client"
swift build --package-path "$here/GRPCSwift" --scratch-path "$folder/grpc-swift"
