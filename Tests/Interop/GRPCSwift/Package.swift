// swift-tools-version: 6.2
// A client of the interop cases on grpc-swift-2, whose HTTP/2 is not ours. Outside of the main
// package, so that nobody else builds it: `make interop`.
import PackageDescription

let package = Package(
    name: "grpc-swift-client",
    platforms: [.macOS(.v15)],
    dependencies: [
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    ],
    targets: [
        .executableTarget(
            name: "Client",
            dependencies: [
                .product(name: "GRPCCore", package: "grpc-swift-2"),
                .product(name: "GRPCNIOTransportHTTP2", package: "grpc-swift-nio-transport"),
            ])
    ],
    swiftLanguageModes: [.v6]
)
