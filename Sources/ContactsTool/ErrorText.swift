// In: any error that a command can end in. Out: what to say about it and the exit code, after
// sysexits.h where that has one. Pure.

import ContactsClient

package enum ExitStatus {
    package static let someFailed: Int32 = 1
    package static let usage: Int32 = 64
    package static let dataError: Int32 = 65
    package static let noInput: Int32 = 66
    package static let unavailable: Int32 = 69
    package static let software: Int32 = 70
    package static let cannotCreate: Int32 = 73
    package static let interrupted: Int32 = 130
    package static let terminated: Int32 = 143
}

package enum ErrorText {
    /// The error in words.
    package static func text(_ error: any Error) -> String {
        switch error {
        case let error as ClientError: "\(error.codeName): \(error.message)"
        case let error as any CustomStringConvertible: error.description
        default: String(describing: error)
        }
    }

    /// The exit code.
    package static func status(_ error: any Error) -> Int32 {
        switch error {
        case is FormatError: ExitStatus.dataError
        case let error as ResumeRefused: error.status
        case is TooManyFailures: ExitStatus.someFailed
        case let error as FileError:
            error.action == "write" ? ExitStatus.cannotCreate : ExitStatus.noInput
        case is SecurityFileError: ExitStatus.noInput
        case let error as ClientError:
            error.isUnavailable ? ExitStatus.unavailable : ExitStatus.software
        default: ExitStatus.software
        }
    }
}
