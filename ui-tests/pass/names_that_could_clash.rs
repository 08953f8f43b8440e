use ruts::session;

#[allow(non_camel_case_types)]
type Q = u8;

#[session]
struct Shop {
    value: Q,
    fields: u8,
    f: u8,
    private: u8,
    self_: u8,
    changes: u8,
    get: u8,
    result: Result<u8, String>,
    option: Option<Q>,
    string: String,
}

async fn handler(shop: Shop) -> Result<(), ruts::Error> {
    shop.edit().value(&1).fields(&2).get(&3).commit().await?;
    let values = shop.load().await?;
    let _ = (values.value, values.fields, values.f, values.result);
    Ok(())
}

fn main() {
    let _ = handler;
}
