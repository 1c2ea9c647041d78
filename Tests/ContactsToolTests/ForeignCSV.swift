// Written by Python 3.11's csv module (random.Random(7), QUOTE_MINIMAL and QUOTE_ALL, all four
// delimiters and all three line ends) and read back by it: what a foreign writer makes of commas,
// quotes, line breaks and scripts, and the rows that it means. (With QUOTE_MINIMAL it leaves a line
// break of another kind than its own unquoted and cannot read that back, so those are not here.)

struct ForeignCSV: Sendable {
    var file: String
    var rows: [[String]]

    static let all = [file0, file1, file2, file3, file4]

    static let file0 = ForeignCSV(
        file: "email,first name,note\r\n;北京,\"Zoë\"\",Zoë\",\""
            + "|Zoë\"\"x,y\"\r\n\"\"\"\n\"\"\",\"x,yZoë,\n\",\"Zoë北京Zoë"
            + "\nZoë\"\r\n\";\rx,y;\",\",\r\t,\",\"|,\"\"\"\r\n\"Zoë|=1+1"
            + "x,y\",\"\"\"\"\"\"\"\"\"\",\"\r\n\"\r\n\"\n\",,\"\ré=1+1 \"\r\n\"\""
            + "\"\"\"\r\"\",é\",\t ;,\"x,yZoë\"\"\"\r\n  =1+1,\"\"\"\"\"\"\""
            + "\"\"\r\n\",\"\"\"Zoë\r\"\r\n\"\"\"\"\"\r北京a\",\"\t,\",\"Zoë|\r\"\r"
            + "\n\"\n\",\"北京=1+1\"\"\",\"\"\"\"\"\"\r\n\"\r\n;x,y\",\"\r\nx,y北"
            + "京\",;\r\n,;,\"\n\"\r\n,\"\t\r\n\r\",\r\n",
        rows: [
            ["email", "first name", "note"],
            [";北京", "Zoë\",Zoë", "|Zoë\"x,y"],
            ["\"\n\"", "x,yZoë,\n", "Zoë北京Zoë\nZoë"],
            [";\rx,y;", ",\r\t,", "|,\""],
            ["Zoë|=1+1x,y", "\"\"\"\"", "\r\n"],
            ["\n", "", "\ré=1+1 "],
            ["\"\"\r\",é", "\t ;", "x,yZoë\""],
            ["  =1+1", "\"\"\"\"\r\n", "\"Zoë\r"],
            ["\"\"\r北京a", "\t,", "Zoë|\r"],
            ["\n", "北京=1+1\"", "\"\""],
            ["\r\n;x,y", "\r\nx,y北京", ";"],
            ["", ";", "\n"],
            ["", "\t\r\n\r", ""],
        ])

    static let file1 = ForeignCSV(
        file: "email;first name;note\n|;\t\t;x,y\n北京北京x,y;;"
            + "\"é=1+1\"\"\"\"\"\n\"\"\"\"\" |||\";\"Zoë\n北京\";a,Zoë\n\"\n"
            + "\";Zoë;a\n;;\"\"\" Zoë\t\"\naZoë=1+1,;\"|\"\"北京;\";\t"
            + "\nZoëZoë=1+1;\"\n\n\n\";\"Zoë\"\"\"\n;\"\tx,y;\n=1+1\";"
            + "\"\"\" a, \"\n\"\"\"x,y\";\"éa\"\"\"\" \";北京=1+1\n;\"=1+1"
            + "; \té\";\t\n ;\"\"\"\"\" \t北京\";\n\"\"\"\"\"\";=1+1;\"x,y\"\""
            + "\"\",\"\n",
        rows: [
            ["email", "first name", "note"],
            ["|", "\t\t", "x,y"],
            ["北京北京x,y", "", "é=1+1\"\""],
            ["\"\" |||", "Zoë\n北京", "a,Zoë"],
            ["\n", "Zoë", "a"],
            ["", "", "\" Zoë\t"],
            ["aZoë=1+1,", "|\"北京;", "\t"],
            ["ZoëZoë=1+1", "\n\n\n", "Zoë\""],
            ["", "\tx,y;\n=1+1", "\" a, "],
            ["\"x,y", "éa\"\" ", "北京=1+1"],
            ["", "=1+1; \té", "\t"],
            [" ", "\"\" \t北京", ""],
            ["\"\"", "=1+1", "x,y\"\","],
        ])

    static let file2 = ForeignCSV(
        file: "\"email\"\t\"first name\"\t\"note\"\r\n\"é\"\t\"aa\"\t\"="
            + "1+1\r\n\"\r\n\"\"\t\"\"\"\"\t\",\"\r\n\"=1+1\"\t\" \"\t\"=1+1\"\r\n"
            + "\"a=1+1\"\"\"\t\",北京|=1+1\t\"\t\" \"\"北京\"\r\n\"北京\"\"\t\"\t\""
            + ";\"\t\"\"\r\n\"\"\"\"\"\"\t\";=1+1;;\"\t\"\"\r\n\"\"\t\",é;x,y|\""
            + "\t\"a\"\r\n\"|\r\"\t\"\n \r\nx,y\"\t\"Zoë\"\r\n\"\"\"\"\"éx,yé\"\t"
            + "\";\"\t\"éa\"\"\"\"\t\"\r\n\"a;\t;\"\t\",Zoë \"\t\"éé=1+1,Zo"
            + "ë\"\r\n\"|\"\t\"Zoë,\"\t\"\"\"\"\"a\"\"\"\"\"\"\"\r\n\"éé\"\t\"\r\n\"\t"
            + "\"é=1+1é\"\r\n",
        rows: [
            ["email", "first name", "note"],
            ["é", "aa", "=1+1\r\n"],
            ["", "\"", ","],
            ["=1+1", " ", "=1+1"],
            ["a=1+1\"", ",北京|=1+1\t", " \"北京"],
            ["北京\"\t", ";", ""],
            ["\"\"", ";=1+1;;", ""],
            ["", ",é;x,y|", "a"],
            ["|\r", "\n \r\nx,y", "Zoë"],
            ["\"\"éx,yé", ";", "éa\"\"\t"],
            ["a;\t;", ",Zoë ", "éé=1+1,Zoë"],
            ["|", "Zoë,", "\"\"a\"\"\""],
            ["éé", "\r\n", "é=1+1é"],
        ])

    static let file3 = ForeignCSV(
        file: "email|first name|note\rx,y|ééé;|\"é,=1+1\r\""
            + "\r\"|\"||\"\r\tZoë\"\r\",|Zoë,北京\"|\"\"\"\"\"Zoë\"|x,y\r\""
            + "北京\t\"\";é\"|\"\r\"|x,y\r|\"é\r\"\"\"|\"=1+1,\"\"x,y|\"\r\""
            + "|\t|,\"|\tZoë|\"\ta\t \r\"\r\"x,ya|\"| | Zoë\r|é|\r|;"
            + "a|;\r=1+1|=1+1é北京|\"|\"\"\"\r\"é \r\"|\"\tZoë;a\"\"\"\""
            + "\"|\"\"\"|éZoë;\"\r|\"Zoë\"\"\"\";Zoë\"|Zoë\r",
        rows: [
            ["email", "first name", "note"],
            ["x,y", "ééé;", "é,=1+1\r"],
            ["|", "", "\r\tZoë"],
            [",|Zoë,北京", "\"\"Zoë", "x,y"],
            ["北京\t\";é", "\r", "x,y"],
            ["", "é\r\"", "=1+1,\"x,y|"],
            ["|\t|,", "\tZoë", "\ta\t \r"],
            ["x,ya|", " ", " Zoë"],
            ["", "é", ""],
            ["", ";a", ";"],
            ["=1+1", "=1+1é北京", "|\""],
            ["é \r", "\tZoë;a\"\"", "\"|éZoë;"],
            ["", "Zoë\"\";Zoë", "Zoë"],
        ])

    static let file4 = ForeignCSV(
        file: "\"email\",\"first name\",\"note\"\n\",\"\"\"\"\",\"\",\""
            + "x,y\r\n\"\n\";Zoëé\n\",\"\",\"\r\n\"\n\"\",\"|\",\"\ré\"\n\"\r\","
            + "\"é\t\r\n\",\"a\r\n\"\n\"\",\"\",\"\"\n\"é|é=1+1\n\",\",x,y=1"
            + "+1\",\"北京é\r|\"\n\" \",\";\",\"Zoë;\"\n\"\",\"\",\"\r\nx,y\t"
            + "Zoë\"\"\"\n\"北京é\r\n\r\",\"\",\"\t\t\r\n\"\n\"a\r\n\",\" \n\",\"\"\n"
            + "\"|\",\"a\",\"北京\"\"\"\n\"\r\né|\",\"é\",\"\"\n",
        rows: [
            ["email", "first name", "note"],
            [",\"\"", "", "x,y\r\n"],
            [";Zoëé\n", "", "\r\n"],
            ["", "|", "\ré"],
            ["\r", "é\t\r\n", "a\r\n"],
            ["", "", ""],
            ["é|é=1+1\n", ",x,y=1+1", "北京é\r|"],
            [" ", ";", "Zoë;"],
            ["", "", "\r\nx,y\tZoë\""],
            ["北京é\r\n\r", "", "\t\t\r\n"],
            ["a\r\n", " \n", ""],
            ["|", "a", "北京\""],
            ["\r\né|", "é", ""],
        ])
}
