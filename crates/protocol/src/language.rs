//! Which programming language a file is in: by its extension, else by the editor's word for it.

/// Our name (lower case), the editor's words for it, the extensions.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const LANGUAGES: &[Row] = &[
    ("c", &["c"], &["c", "h"]),
    ("c++", &["cpp", "c++", "cuda-cpp"], &["cpp", "cc", "cxx", "hpp", "hh", "hxx", "c++", "cu"]),
    ("c#", &["csharp", "c#"], &["cs", "csx"]),
    ("clojure", &["clojure"], &["clj", "cljs", "cljc"]),
    ("css", &["css", "scss", "less", "sass"], &["css", "scss", "less", "sass"]),
    ("dart", &["dart"], &["dart"]),
    ("dockerfile", &["dockerfile"], &["dockerfile"]),
    ("elixir", &["elixir"], &["ex", "exs"]),
    ("erlang", &["erlang"], &["erl", "hrl"]),
    ("go", &["go", "golang"], &["go"]),
    ("groovy", &["groovy"], &["groovy", "gradle"]),
    ("haskell", &["haskell"], &["hs", "lhs"]),
    ("html", &["html", "haml", "handlebars"], &["html", "htm", "haml", "hbs", "erb"]),
    ("java", &["java"], &["java"]),
    ("javascript", &["javascript", "javascriptreact", "js"], &["js", "jsx", "mjs", "cjs"]),
    ("json", &["json", "jsonc"], &["json", "jsonc"]),
    ("julia", &["julia"], &["jl"]),
    ("kotlin", &["kotlin"], &["kt", "kts"]),
    ("lua", &["lua"], &["lua"]),
    ("markdown", &["markdown"], &["md", "markdown"]),
    ("objective-c", &["objective-c", "objective-cpp"], &["m", "mm"]),
    ("perl", &["perl"], &["pl", "pm"]),
    ("php", &["php"], &["php", "phtml"]),
    ("powershell", &["powershell"], &["ps1", "psm1"]),
    ("python", &["python"], &["py", "pyi", "pyw"]),
    ("r", &["r"], &["r"]),
    ("ruby", &["ruby"], &["rb", "rake", "gemspec", "ru"]),
    ("rust", &["rust"], &["rs"]),
    ("scala", &["scala"], &["scala", "sc", "sbt"]),
    ("shell", &["shellscript", "shell", "bash", "sh", "zsh"], &["sh", "bash", "zsh", "ksh"]),
    ("sql", &["sql", "plsql"], &["sql"]),
    ("svelte", &["svelte"], &["svelte"]),
    ("swift", &["swift"], &["swift"]),
    ("systemverilog", &["systemverilog", "verilog"], &["sv", "svh", "v"]),
    ("terraform", &["terraform", "hcl"], &["tf", "tfvars", "hcl"]),
    ("typescript", &["typescript", "typescriptreact", "ts"], &["ts", "tsx", "mts", "cts"]),
    ("vue", &["vue"], &["vue"]),
    ("xml", &["xml"], &["xml", "xsd"]),
    ("yaml", &["yaml", "yml"], &["yaml", "yml"]),
    ("zig", &["zig"], &["zig"]),
];

/// Extension of a file name in lower case; of a name like `Dockerfile` the name itself is looked at by [`detect`].
pub fn extension(file_name: &str) -> Option<String> {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    let (stem, extension) = name.rsplit_once('.')?;
    let dotfile = stem.is_empty();
    (!extension.is_empty() && !dotfile).then(|| extension.to_ascii_lowercase())
}

/// Our name of the language: the extension decides before `identifier` does.
pub fn detect(file_name: &str, identifier: Option<&str>) -> Option<&'static str> {
    let base = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name).to_ascii_lowercase();
    let by = |wanted: &str, column: fn(&Row) -> &'static [&'static str]| {
        LANGUAGES.iter().find(|row| column(row).contains(&wanted)).map(|row| row.0)
    };
    let by_name = match base.as_str() {
        "dockerfile" | "containerfile" => Some("dockerfile"),
        "rakefile" | "gemfile" => Some("ruby"),
        _ => None,
    };
    extension(file_name)
        .and_then(|extension| by(&extension, |row| row.2))
        .or(by_name)
        .or_else(|| identifier.and_then(|word| by(&word.trim().to_ascii_lowercase(), |row| row.1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_before_the_editor() {
        let table = [
            ("test.rb", None, Some("ruby")),
            ("app/test.RB", Some("python"), Some("ruby")),
            ("notes.xyz", Some("Ruby"), Some("ruby")),
            ("Dockerfile", None, Some("dockerfile")),
            ("a.tsx", None, Some("typescript")),
            ("notes.xyz", None, None),
            ("noext", Some("golang"), Some("go")),
            ("noext", None, None),
        ];
        for (file, word, wanted) in table {
            assert_eq!(detect(file, word), wanted, "{file} {word:?}");
        }
    }
}
