//! The README's example in Rust, compiled: what the README shows is what stands here.

/// The example, as somebody puts it into a program of their own.
#[expect(dead_code, reason = "compiling is all that is asked of it: it wants a server")]
async fn example() -> Result<(), Box<dyn std::error::Error>> {
    use rollcall_client::{Client, Ip, Registration};

    let client = Client::connect(["ws://127.0.0.1:7101/ws"]).await?;
    client.connect_user("carol", Registration::new(Ip::Observed, 4711)).await?;
    let answer = client.get_user_address(["ann", "bob"]).await?;
    let number = client.get_sequence_number().await?;
    client.close().await;

    // Not for the README: what was got is what the README's names say.
    let (_, _): (rollcall_client::UserAddress, u64) = (answer, number);
    Ok(())
}

#[test]
fn the_readme_shows_what_compiles() {
    let readme = include_str!("../../README.md");
    let mut blocks = readme.split("```rust\n").skip(1);
    let shown = blocks.next().and_then(|rest| rest.split("```").next()).expect("an example");
    assert!(blocks.next().is_none(), "another example in Rust is not compiled here");
    let indented = |line: &str| if line.is_empty() { "\n".into() } else { format!("    {line}\n") };
    let shown: String = shown.lines().map(indented).collect();
    assert!(include_str!("readme.rs").contains(&shown), "README.md shows something else:\n{shown}");
}
