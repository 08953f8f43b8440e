use ruts::session;

mod sessions {
    use ruts::session;

    #[session]
    pub struct Open {
        inherited: u8,
        pub(self) private: u8,
        pub public: u8,
    }

    #[session]
    pub(crate) struct Inner {
        field: u8,
    }

    pub async fn inside(open: Open) -> Result<Option<u8>, ruts::Error> {
        open.private().await
    }
}

#[session]
struct Private {
    never_used: u8,
}

async fn outside(open: sessions::Open, inner: sessions::Inner) -> Result<(), ruts::Error> {
    open.set_inherited(&1).await?;
    open.edit().public(&2).inherited(&3).commit().await?;
    let values: sessions::OpenValues = open.load().await?;
    let _: (Option<u8>, Option<u8>) = (values.public, values.inherited);
    let _ = (sessions::Open::PUBLIC, sessions::Inner::FIELD);
    sessions::inside(open).await?;
    inner.field().await.map(drop)
}

fn main() {
    let _ = outside;
}
