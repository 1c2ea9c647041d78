// `bench plot`: draws the plot of results that were measured before. In: their JSON. Out: an SVG.

import ArgumentParser
import Foundation

struct PlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot", abstract: "Draws the plot of earlier results.")

    @Argument(help: "The results, as JSON.")
    var results: String

    @Argument(help: "Where the plot goes.")
    var svg: String

    func run() throws {
        let report = try Report(json: Data(contentsOf: URL(fileURLWithPath: results)))
        try BenchFiles.write(Data(Plot(report).svg.utf8), to: svg)
    }
}
