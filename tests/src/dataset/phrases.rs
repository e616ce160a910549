//! What developers and their assistant say to each other. `%` stands for a word of the trade.

pub(super) struct Language {
    pub(super) questions: &'static [&'static str],
    pub(super) remarks: &'static [&'static str],
}

pub(super) const LANGUAGES: &[&Language] = &[
    &ENGLISH, &ENGLISH, &ENGLISH, &ENGLISH, &GERMAN, &SPANISH, &CHINESE, &JAPANESE, &RUSSIAN,
];

const ENGLISH: Language = Language {
    questions: &[
        "how do I make the % of the % configurable without breaking the tests?",
        "Why does the % deadlock when two % are open at the same time? Think it through first.",
        "rename % to %",
        "the build fails since I upgraded the %, what changed?",
        "Explain the difference between a % and a % in this codebase.",
        "write unit tests for the % and the edge cases of its %",
        "Is it safe to share this % across threads, or do I need a % per thread?",
        "add a \"%\" option to the command line, please \u{1f64f}",
    ],
    remarks: &[
        "The % is created before the % is ready, so the first call always sees the old value.",
        "I moved the % into its own module and kept the public % as it was.",
        "You can see it in the log: the \"%\" message comes twice, once per %.",
        "That only happens on Windows, where the path is C:\\work\\%\\% and not what the % expects.",
        "It's O(n\u{b2}) in the number of %, which is fine for now \u{2013} but not for 100k of them.",
        "Let me know if you would rather keep the % and drop the %.",
        "All 42 tests pass \u{2705} and the % is covered as well.",
    ],
};

const GERMAN: Language = Language {
    questions: &[
        "Warum wird der % beim zweiten Aufruf nicht mehr gefunden?",
        "Kannst du den % so \u{e4}ndern, dass er ohne % auskommt?",
        "bitte % in % umbenennen",
        "Was w\u{fc}rde passieren, wenn der % gr\u{f6}\u{df}er als der % ist? \u{dc}berleg bitte gr\u{fc}ndlich.",
    ],
    remarks: &[
        "Der % wird zu fr\u{fc}h geschlossen, deshalb schl\u{e4}gt der % fehl.",
        "Ich habe den % erg\u{e4}nzt und die Tests f\u{fc}r den % angepasst.",
        "Das l\u{e4}sst sich \u{fc}ber \u{201e}%\u{201c} in den Einstellungen \u{e4}ndern.",
    ],
};

const SPANISH: Language = Language {
    questions: &[
        "\u{bf}C\u{f3}mo puedo probar el % sin levantar el %?",
        "\u{bf}Por qu\u{e9} el % devuelve nulo despu\u{e9}s de la migraci\u{f3}n?",
        "agrega un % a la configuraci\u{f3}n del %",
    ],
    remarks: &[
        "El % se inicializa despu\u{e9}s del %, as\u{ed} que la primera petici\u{f3}n falla.",
        "A\u{f1}ad\u{ed} una validaci\u{f3}n para el % y actualic\u{e9} la documentaci\u{f3}n.",
    ],
};

const CHINESE: Language = Language {
    questions: &[
        "\u{4e3a}\u{4ec0}\u{4e48} % \u{5728}\u{5e76}\u{53d1}\u{60c5}\u{51b5}\u{4e0b}\u{4f1a}\u{4e22}\u{5931}\u{6570}\u{636e}\u{ff1f}",
        "\u{8bf7}\u{5e2e}\u{6211}\u{628a} % \u{91cd}\u{6784}\u{6210} %\u{ff0c}\u{5e76}\u{8865}\u{5145}\u{6d4b}\u{8bd5}\u{3002}",
    ],
    remarks: &[
        "\u{95ee}\u{9898}\u{51fa}\u{5728} % \u{7684}\u{521d}\u{59cb}\u{5316}\u{987a}\u{5e8f}\u{ff0c}\u{5b83}\u{6bd4} % \u{66f4}\u{65e9}\u{6267}\u{884c}\u{3002}",
        "\u{6211}\u{5df2}\u{7ecf}\u{66f4}\u{65b0}\u{4e86} %\u{ff0c}\u{6240}\u{6709}\u{6d4b}\u{8bd5}\u{90fd}\u{901a}\u{8fc7}\u{4e86} \u{1f389}",
    ],
};

const JAPANESE: Language = Language {
    questions: &[
        "% \u{304c}\u{52d5}\u{304b}\u{306a}\u{3044}\u{7406}\u{7531}\u{3092}\u{8abf}\u{3079}\u{3066}\u{304f}\u{3060}\u{3055}\u{3044}\u{3002}",
        "% \u{3068} % \u{306e}\u{9055}\u{3044}\u{306f}\u{4f55}\u{3067}\u{3059}\u{304b}\u{ff1f}",
    ],
    remarks: &[
        "% \u{306e}\u{8a2d}\u{5b9a}\u{304c}\u{53e4}\u{3044}\u{305f}\u{3081}\u{3001}% \u{304c}\u{5931}\u{6557}\u{3057}\u{3066}\u{3044}\u{307e}\u{3059}\u{3002}",
        "% \u{3092}\u{4fee}\u{6b63}\u{3057}\u{307e}\u{3057}\u{305f}\u{3002}",
    ],
};

const RUSSIAN: Language = Language {
    questions: &[
        "\u{41f}\u{43e}\u{447}\u{435}\u{43c}\u{443} % \u{43f}\u{430}\u{434}\u{430}\u{435}\u{442} \u{43f}\u{43e}\u{441}\u{43b}\u{435} \u{43e}\u{431}\u{43d}\u{43e}\u{432}\u{43b}\u{435}\u{43d}\u{438}\u{44f} %?",
        "\u{434}\u{43e}\u{431}\u{430}\u{432}\u{44c} \u{442}\u{435}\u{441}\u{442}\u{44b} \u{434}\u{43b}\u{44f} %",
    ],
    remarks: &[
        "\u{41f}\u{440}\u{43e}\u{431}\u{43b}\u{435}\u{43c}\u{430} \u{432} \u{442}\u{43e}\u{43c}, \u{447}\u{442}\u{43e} % \u{441}\u{43e}\u{437}\u{434}\u{430}\u{451}\u{442}\u{441}\u{44f} \u{440}\u{430}\u{43d}\u{44c}\u{448}\u{435} %.",
        "\u{413}\u{43e}\u{442}\u{43e}\u{432}\u{43e}, % \u{43f}\u{43e}\u{43a}\u{440}\u{44b}\u{442} \u{442}\u{435}\u{441}\u{442}\u{430}\u{43c}\u{438}.",
    ],
};

pub(super) const REPEATED: &[&str] = &[
    "continue",
    "yes",
    "yes please",
    "fix it",
    "try again",
    "run the tests",
    "weiter",
    "\u{7ee7}\u{7eed}",
];

/// Pasted code has everything in it that a scanner might trip over.
pub(super) const CODE: &[&str] = &[
    "fn %(input: &str) -> Result<%, Error> {\n    let text = input.trim_matches('\"');\n    println!(\"{\\\"%\\\": {text}}\");\n    Ok(text.parse()?)\n}",
    "def %(self, %=None):\n    return {\"conversationId\": self.id, \"turnsArray\": [%], \"path\": \"C:\\\\temp\\\\\"}",
    "[\n  {\n    \"conversationId\": \"%\",\n    \"turnsArray\": []\n  },\n  {",
    "const % = await fetch(`/api/%?q=${encodeURIComponent(\"a\\tb\")}`).then(r => r.json());",
    "Traceback (most recent call last):\n  File \"/srv/%/%.py\", line 118, in <module>\n    raise ValueError(\"unexpected '}' in %\")\nValueError: unexpected '}' in %",
    "SELECT %, count(*) FROM % WHERE name LIKE '%\\\\_%' GROUP BY 1 ORDER BY 2 DESC;",
    "2025-11-03T09:14:22.318Z ERROR %: {\"level\":\"error\",\"msg\":\"% failed\",\"attempt\":3}",
];

pub(super) const NOUNS: &[&str] = &[
    "parser",
    "session",
    "cache",
    "config",
    "router",
    "worker",
    "queue",
    "schema",
    "index",
    "token",
    "buffer",
    "client",
    "handler",
    "migration",
    "logger",
    "scheduler",
    "cursor",
    "payload",
    "registry",
    "fixture",
    "adapter",
    "endpoint",
    "snapshot",
    "timeout",
    "iterator",
    "pipeline",
];

pub(super) const USERS: &[&str] = &["ada", "grace", "linus", "barbara", "edsger", "margaret"];

pub(super) const EXTENSIONS: &[&str] = &["rs", "py", "ts", "go", "cs", "md"];

pub(super) const MODELS: &[&str] = &[
    "claude-sonnet-4.5",
    "gpt-5",
    "gpt-4.1",
    "gemini-2.5-pro",
    "gpt-5-mini",
];

pub(super) const TOOLS: &[&str] = &[
    "create_directory",
    "create_file",
    "create_new_jupyter_notebook",
    "create_new_workspace",
    "edit_notebook_file",
    "fetch_webpage",
    "file_search",
    "get_changed_files",
    "get_errors",
    "get_project_setup_info",
    "get_search_view_results",
    "get_terminal_output",
    "get_vscode_api",
    "github_repo",
    "grep_search",
    "insert_edit_into_file",
    "install_extension",
    "list_code_usages",
    "list_dir",
    "manage_todo_list",
    "multi_replace_string_in_file",
    "open_simple_browser",
    "read_file",
    "replace_string_in_file",
    "run_in_terminal",
    "run_notebook_cell",
    "run_task",
    "run_tests",
    "run_vscode_command",
    "semantic_search",
    "terminal_last_command",
    "terminal_selection",
    "test_failure",
    "test_search",
    "think",
    "update_user_preferences",
    "vscode_search_extensions",
    "configure_python_environment",
    "get_python_environment_details",
    "get_python_executable_details",
    "install_python_packages",
    "copilot_getNotebookSummary",
    "create_and_run_task",
    "get_task_output",
];
