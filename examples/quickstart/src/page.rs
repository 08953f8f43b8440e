//! The only page, as HTML.

use std::fmt::Write;

use crate::session::Cart;

/// The items for sale.
pub(crate) const ITEMS: [&str; 3] = ["tea", "bread", "apples"];

/// The content of the page.
pub(crate) struct Page {
    pub(crate) visits: u64,
    pub(crate) flash: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) cart: Cart,
}

const STYLE: &str = "\
body { font: 17px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto }
body { padding: 0 1rem; color: #222 }
[role=status] { background: #e8f5e9; border-left: 4px solid #2e7d32; padding: .5rem 1rem }
form { display: inline } button, input { font: inherit; padding: .25rem .75rem }
small { color: #595959 }";

pub(crate) fn render(page: &Page) -> String {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content='width=device-width'><title>A small shop</title>\
         <style>{STYLE}</style><h1>A small shop</h1>"
    );
    if let Some(flash) = &page.flash {
        push(&mut html, format_args!("<p role=status>{}</p>", escape(flash)));
    }
    match &page.user {
        Some(user) => push(
            &mut html,
            format_args!(
                "<form method=post action=/sign-out><p>Signed in as <b>{}</b> \
                 <button>Sign out</button></p></form>",
                escape(user)
            ),
        ),
        None => html.push_str(
            "<form method=post action=/sign-in><p><label>Name <input name=name required \
             maxlength=40 autocomplete=username></label> <button>Sign in</button></p></form>",
        ),
    }
    html.push_str("<h2>Cart</h2>");
    if page.cart.is_empty() {
        html.push_str("<p>Your cart is empty.</p>");
    } else {
        html.push_str("<ul>");
        for (item, count) in &page.cart {
            push(&mut html, format_args!("<li>{count} × {}</li>", escape(item)));
        }
        html.push_str("</ul>");
    }
    for item in ITEMS {
        push(
            &mut html,
            format_args!(
                "<form method=post action=/cart>\
                 <button name=item value={item}>Add {item}</button></form> "
            ),
        );
    }
    push(&mut html, format_args!("<p><small>visit {}</small></p>\n", page.visits));
    html
}

/// Writing to a `String` cannot fail.
fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = html.write_fmt(text);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
